"""flexlam demo."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Record a 3-D game, learn its latent actions from the video, align them with a few labels, and report."""

    out: Path = Path("demo")
    """Folder for everything."""
    preset: str = "vizdoom-small"
    """Which sizes (vizdoom-tiny runs in seconds and learns little)."""
    overwrite: bool = False
    """Replace what the folder holds."""
    resume: bool = False
    """Continue an interrupted demo in the folder."""
    quiet: bool = False
    """No progress bars."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, run, print the table and where the page is."""
    options = parse_options(Demo, prog, arguments)
    from flexlam.presets.base import load_preset
    from flexlam.report.table import results_table
    from flexlam.study.demo import run_demo

    results = run_demo(load_preset(options.preset), options.out, options.overwrite, options.resume)
    print(results_table(results).to_text())
    print(f"\nReport:  {options.out / 'report.html'}\nFigures: {options.out / 'results.json'}")

"""flexlam report RUN --data STORE --out report.html."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from flexlam.cli.parse import parse_options
from flexlam.core.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page about a model on your own data: what codes hold, decoded frames at every k, what a translator reads."""

    run: tyro.conf.Positional[Path]
    """A run of stage 1 (or of joint alignment), or a released model."""
    data: Path
    """Frame store; its test episodes are shown."""
    out: Path
    """The page, one .html file that needs nothing else."""
    translator: Path | None = None
    """A translator of the run's codes that reads codes alone (flexlam train translator --label-file)."""
    overwrite: bool = False
    """Replace the page."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Measure and write the page."""
    options = parse_options(Report, prog, arguments)
    if options.out.suffix.lower() != ".html":
        raise OutputError(f"{options.out} is no page; give a name that ends in .html.")
    if options.out.exists() and not options.overwrite:
        raise OutputError(f"{options.out} is there already. Add --overwrite to replace it.")
    from flexlam.study.model_report import ModelReportConfig, report_model

    command = " ".join([prog, *arguments])
    found = report_model(
        ModelReportConfig(), options.run, options.data, options.out, options.translator, command=command
    )
    full = found["rows"][-1]
    print(f"{found['health']['verdict']}: {found['health']['reason']}")
    copied = found["copy"]["psnr"]
    print(f"Decoded frames: {full['psnr']:.1f} dB with k = {full['k']}; the present frame as it is, {copied:.1f} dB.")
    print(f"Page: {options.out}")

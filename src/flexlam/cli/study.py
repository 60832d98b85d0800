"""flexlam study NAME --profile PROFILE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Run a study of the papers, or continue it: what is finished in the folder is never computed again."""

    name: tyro.conf.Positional[str]
    """Which study (flexlam list study)."""
    profile: str = "cpu"
    """How large: tiny (a minute; shows that it runs, and nothing else) or cpu (two cores)."""
    out: Path | None = None
    """Folder for its steps and results; by default studies/NAME-PROFILE."""
    overlay: tuple[str, ...] = ()
    """Exogenous nuisance over the recorded frames, by name (flexlam list overlay), in this order."""
    only: Annotated[tuple[int, ...], tyro.conf.arg(metavar="SEED")] = ()
    """LAM seeds to compute here; by default all. Conclusions are drawn from all that are finished."""
    merge: tuple[Path, ...] = ()
    """Folders in which other seeds of the same study were computed."""
    workers: int | None = None
    """Processes of one thread each; by default as many as the profile says."""
    quiet: bool = False
    """No progress bars."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, compute what is missing, and print tables and verdicts."""
    options = parse_options(StudyOptions, prog, arguments)
    from flexlam.core import catalog
    from flexlam.study.base import load_study, run_study
    from flexlam.study.config import StudyConfig, load_profile

    load_study(options.name)
    config = load_profile(options.profile)
    changes = config.model_dump()
    if options.overlay:
        overlays = [catalog.lookup("overlay", name).Config().model_dump() for name in options.overlay]
        changes["recording"]["overlays"] = overlays
    if options.workers is not None:
        changes["num_workers"] = options.workers
    config = StudyConfig.parse(changes, "the command line")
    out = options.out or Path("studies", f"{options.name}-{options.profile}")
    results = run_study(options.name, options.profile, config, out, options.only, options.merge)
    print((out / "table.md").read_text())
    done, wanted = results["finished"]
    rest = "" if done == wanted else "; the rest belongs to LAM seeds that were not computed here (--only, --merge)"
    print(f"{done} of {wanted} measurements{rest}. Everything: {out / 'results.json'}")

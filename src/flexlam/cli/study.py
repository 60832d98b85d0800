"""flexlam study NAME --profile PROFILE."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from flexlam.cli.options import overlays_by_name
from flexlam.cli.parse import parse_with_settings
from flexlam.core import catalog
from flexlam.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Run a study of the papers, or continue it: what is finished is never computed again."""

    profile: str = "cpu"
    """How large: tiny (shows that it runs, and nothing else), cpu, gpu or paper (docs/evidence.md)."""
    out: Path | None = None
    """Folder for results.json, the table and the figures; by default studies/NAME-PROFILE."""
    steps: Path | None = None
    """Folder of the computed steps, which studies may share; by default `steps` beside OUT."""
    overlay: tuple[str, ...] = ()
    """Exogenous nuisance over the recorded frames, by name (flexlam list overlay), in this order."""
    only: Annotated[tuple[int, ...], tyro.conf.arg(metavar="SEED")] = ()
    """LAM seeds to compute here; by default all. Conclusions are drawn from seeds that are finished whole."""
    only_methods: Annotated[tuple[str, ...], tyro.conf.arg(metavar="METHOD")] = ()
    """Methods to compute here, as the tables name them; by default all."""
    merge: tuple[Path, ...] = ()
    """Folders of steps in which other parts of the same study were computed, with the same settings."""
    against: Path | None = None
    """A results.json of the same study and settings: does this run land within its intervals? (If not, exit code 1.)"""
    quiet: bool = False
    """No progress bars."""


def run(prog: str, arguments: Sequence[str]) -> int:
    """Parse, compute what is missing, and print tables and verdicts."""
    name, rest = _study_name(prog, arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy reads it when it loads: one thread a step, as for torch
    from flexlam.study.base import Share, compare, read_results, run_study, study_question
    from flexlam.study.config import load_profile

    about = f"{study_question(name)} {StudyOptions.__doc__}"
    options, config = parse_with_settings(StudyOptions, load_profile(_profile(rest)), f"{prog} {name}", rest, about)
    if options.overlay:
        config = config.under(overlays_by_name(options.overlay))
    committed = read_results(options.against, name, config) if options.against else None
    out = options.out or Path("studies", f"{name}-{options.profile}")
    steps = options.steps or out.parent / "steps"
    command = " ".join([prog, *arguments])
    share = Share(options.only, options.only_methods)
    results = run_study(name, config, out, steps, share, options.merge, command)
    print((out / "table.md").read_text())
    done, wanted = results["finished"]
    rest_is = "" if done == wanted else "; the rest was not computed here (--only, --only-methods, --merge)"
    print(f"{done} of {wanted} measurements{rest_is}. Everything: {out / 'results.json'}")
    if committed is None:
        return 0
    table, inside = compare(results, committed)
    print(f"\nAgainst {options.against}\n\n{table.to_markdown()}")
    return 0 if inside else 1


def _study_name(prog: str, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The first word, and the rest."""
    names = ", ".join(catalog.names("study"))
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        raise ConfigError(f"Give a study first: {prog} NAME --profile PROFILE. Known: {names}.")
    if arguments[0] in ("-h", "--help"):
        print(f"usage: {prog} NAME [--profile PROFILE] [settings]\n\nStudies: {names}.\n{prog} NAME --help tells more.")
        raise SystemExit(0)
    return arguments[0], list(arguments[1:])


def _profile(arguments: Sequence[str]) -> str:
    """What --profile says; settings start from it, so it is needed before anything else is read."""
    for place, argument in enumerate(arguments):
        if argument == "--profile" and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith("--profile="):
            return argument.partition("=")[2]
    return StudyOptions.profile

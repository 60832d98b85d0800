"""What a study is: steps to compute, and what follows from their rows."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlam.core import catalog
from flexlam.core.errors import ConfigError, DataError, OutputError
from flexlam.core.files import write_text
from flexlam.core.machine import describe_environment
from flexlam.report.table import Table
from flexlam.study.claims import Claim
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found, Measured
from flexlam.study.graph import Step, Workspace


@dataclass(frozen=True)
class Outcome:
    """What a study found."""

    claims: list[Claim]
    tables: dict[str, Table]
    """By title."""
    figures: dict[str, str]
    """File name -> SVG."""


@dataclass(frozen=True)
class Study:
    """A figure or table of the papers, as steps whose rows are concluded from."""

    steps: Callable[[StudyConfig], list[Step]]
    """The steps whose rows are wanted; what these need is computed with them."""
    conclude: Callable[[StudyConfig, Found], Outcome]
    """What follows from the rows of those seeds of which every step is finished."""


def load_study(name: str) -> Study:
    """The study that a name stands for.

    Raises:
        ConfigError: there is no such study.
    """
    make: Callable[[], Study] = catalog.lookup("study", name)
    return make()


def study_question(name: str) -> str:
    """What a study asks, in one line.

    Raises:
        ConfigError: there is no such study.
    """
    return str(catalog.lookup("study", name).__doc__)


@dataclass(frozen=True)
class Share:
    """Which part of a study is computed here; conclusions are drawn from all that is finished."""

    seeds: tuple[int, ...] = ()
    """LAM seeds; empty means all."""
    methods: tuple[str, ...] = ()
    """Methods, as tables name them; empty means all."""

    def has(self, step: Step) -> bool:
        """Whether a step belongs to it."""
        about = step.about
        return (not self.seeds or about["seed"] in self.seeds) and (not self.methods or about["method"] in self.methods)

    def check(self, steps: Sequence[Step]) -> None:
        """Refuse methods that the study does not have.

        Raises:
            ConfigError: an unknown method.
        """
        known = list(dict.fromkeys(step.about["method"] for step in steps))
        for method in self.methods:
            if method not in known:
                raise ConfigError(f"The study has no method {method!r}; it has {', '.join(map(repr, known))}.")


def run_study(
    name: str,
    config: StudyConfig,
    out: Path,
    steps: Path,
    share: Share = Share(),
    merge: Sequence[Path] = (),
    command: str = "",
) -> dict[str, Any]:
    """Compute what is missing in the folder of steps, conclude from what is there, and fill OUT.

    What `merge` names are folders of steps that were computed elsewhere, with the same settings.

    Returns what OUT/results.json holds; OUT/table.md and the figures lie beside it.

    Raises:
        ConfigError: no such study, a share that it does not have, a folder to merge that holds none of its steps.
        OutputError: the disk is full, or OUT holds results of other settings.
    """
    study = load_study(name)
    _check_early(config, out, share, merge)
    wanted = study.steps(config)
    share.check(wanted)
    workspace = Workspace(steps)
    for other in merge:
        if not any(Workspace(other).finished(step) for step in wanted):
            raise ConfigError(
                f"{other} holds none of the {len(wanted)} measurements of this study with these settings. Give the "
                "--steps folder of a run that had the very same ones."
            )
    for other in merge:
        workspace.merge(other, wanted)
    workspace.compute([step for step in wanted if share.has(step)], config.num_workers)
    finished = [step for step in wanted if workspace.finished(step)]
    measured = [Measured(step.about, workspace.rows(step), _training_seconds(workspace, step)) for step in finished]
    partial = {step.about["seed"] for step in wanted if not workspace.finished(step)}
    outcome = study.conclude(config, Found([entry for entry in measured if entry.about["seed"] not in partial]))
    results = {
        "schema_version": 1,
        "kind": "study",
        "study": name,
        "command": command,
        "config": config.model_dump(mode="json"),
        "config_hash": config.hash(),
        "environment": describe_environment(),
        "finished": [len(finished), len(wanted)],
        "claims": [{**claim.to_json(), "unit": _unit(claim, measured)} for claim in outcome.claims],
        "cost": _cost(workspace, finished),
        "rows": [{**entry.about, **row} for entry in measured for row in entry.rows],
    }
    _write(out, results, outcome)
    return results


def read_results(path: Path, study: str, config: StudyConfig) -> dict[str, Any]:
    """A results.json of a study with these settings.

    Raises:
        DataError: it cannot be read, or belongs to another study.
        ConfigError: it was made with other settings.
    """
    try:
        results: dict[str, Any] = json.loads(path.read_text())
        found, settings = results["study"], results["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no results.json of a study ({error!r}).") from error
    if found != study:
        raise DataError(f"{path} holds results of the study {found!r}; this is {study!r}.")
    if changed := differing(settings, config.model_dump(mode="json")):
        raise ConfigError(f"{path} was made with other settings: {', '.join(changed)}.")
    return results


def compare(results: Mapping[str, Any], committed: Mapping[str, Any]) -> tuple[Table, bool]:
    """Every claim beside its committed one, and whether each effect lies within the committed 95 % interval.

    For runs of the same settings, which on the same kind of machine give the same figures. A claim without an interval
    (of one seed), or that only one side has, is not inside.
    """
    ours = {claim["id"]: claim for claim in results["claims"]}
    rows, every = [], bool(committed["claims"])
    for claim in committed["claims"]:
        found, interval = ours.get(claim["id"]), claim["ci95"]
        inside = found is not None and interval is not None and interval[0] <= found["effect"] <= interval[1]
        every = every and inside
        rows.append(
            (
                claim["id"],
                "–" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}",
                "–" if found is None else f"{found['effect']:+.3f}",
                "inside" if inside else "OUTSIDE",
            )
        )
    return Table(("claim", "committed 95 % interval", "this run", ""), (tuple(rows),)), every


def _check_early(config: StudyConfig, out: Path, share: Share, merge: Sequence[Path]) -> None:
    """What can be refused before models are looked at."""
    if unknown := set(share.seeds) - set(config.seeds):
        seeds = ", ".join(map(str, config.seeds))
        raise ConfigError(f"The study has no seed {', '.join(map(str, sorted(unknown)))}; it has {seeds}.")
    for other in merge:
        if not any(other.glob("*/done.json")):
            raise ConfigError(f"{other} holds no finished steps. Give the --steps folder of another run.")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # nothing there, or nothing worth keeping
        there = json.loads((out / "results.json").read_text())["config"]
        if changed := differing(there, config.model_dump(mode="json")):
            raise OutputError(f"{out} holds results of other settings ({', '.join(changed)}). Give another --out.")


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which a study that was run differs from one that is to be.

    The number of workers changes no figure, and a dataset may lie in another folder. A setting that did not exist when
    a study was run has its default; a group that did not exist then is of another study, and is passed over.
    """
    later = {name for name, value in other.items() if name not in one and isinstance(value, Mapping)}
    one, other = (_complete(values) for values in (one, other))
    one, other = ({**values, "dataset": Path(values.get("dataset") or "").name} for values in (one, other))
    names = sorted((one.keys() | other.keys()) - {"num_workers"} - later)
    return [name for name in names if one.get(name) != other.get(name)]


def _complete(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        completed: dict[str, Any] = StudyConfig.parse(dict(values)).model_dump(mode="json")
    except ConfigError:  # of a version that had settings which are no more
        return dict(values)
    return completed


def _training_seconds(workspace: Workspace, step: Step) -> float:
    parents = workspace.about(step)["parents"]
    return float(sum(seconds for name, seconds in parents.items() if name.startswith("lam-")))


def _unit(claim: Claim, measured: Sequence[Measured]) -> str:
    """Losses are nats where actions are choices; of continuous actions they are squared standard deviations."""
    choices = any("action_accuracy" in row for entry in measured for row in entry.rows)
    return "squared standard deviations" if claim.unit == "nats" and not choices else claim.unit


def _cost(workspace: Workspace, steps: Sequence[Step]) -> dict[str, float]:
    """CPU-seconds of each kind of step that lies in this folder."""
    every = {parent.name: parent for step in steps for parent in (*step.parents, step)}
    cost: dict[str, float] = {}
    for step in every.values():
        if workspace.finished(step):
            cost[step.kind] = round(cost.get(step.kind, 0.0) + workspace.about(step)["cpu_seconds"], 1)
    return cost


def _write(out: Path, results: Mapping[str, Any], outcome: Outcome) -> None:
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    title = "Claims (an effect is the first named minus the second; where one alone is named, its value)"
    tables = {title: claims_table(results["claims"]), **outcome.tables}
    text = "\n\n".join(f"{title}\n\n{table.to_markdown()}" for title, table in tables.items())
    write_text(out / "table.md", text + "\n")
    for name, svg in outcome.figures.items():
        write_text(out / name, svg)


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    """One row a claim of results.json."""
    rows = tuple(
        (
            claim["statement"],
            claim["verdict"],
            f"{claim['effect']:+.3f}",
            "–" if claim["ci95"] is None else f"{claim['ci95'][0]:+.3f} to {claim['ci95'][1]:+.3f}",
            str(claim["seeds"]),
            claim["reason"],
        )
        for claim in claims
    )
    return Table(("claim", "verdict", "effect", "95 % interval", "seeds", "why"), (rows,) if rows else ())

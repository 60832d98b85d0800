"""What the `eval` verbs have in common: open a run and a store, measure, print a table, keep the figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexlam.cli.options import Report
from flexlam.cli.parse import parse_with_preset
from flexlam.core.config import Config
from flexlam.core.files import write_text

if TYPE_CHECKING:
    from flexlam.lam.model import LatentActionModel
    from flexlam.policy.base import Policy
    from flexlam.training.pairs import SplitPairs


@dataclass(frozen=True, kw_only=True)
class Measurement(Report):
    """A measurement of a latent action model on a store."""

    lam: Path
    """Run folder of the latent action model."""
    data: Path
    """Frame store."""


@dataclass(frozen=True, kw_only=True)
class ActingMeasurement(Measurement):
    """A measurement of a model and of the policy that predicts its latent actions."""

    policy: Path
    """Run folder of the policy (flexlam train policy)."""


@dataclass(frozen=True)
class Measured:
    """What a measurement works on, and what its record says of that."""

    lam: "LatentActionModel"
    policy: "Policy | None"
    pairs: "SplitPairs"
    record: dict[str, Any]


def open_measured(options: Measurement, kind: str, command: str, settings: Config) -> Measured:
    """Open the runs and the store of a measurement.

    Raises:
        CheckpointError: a run is unfinished or damaged, or the policy predicts the codes of another model.
        DataError: the store does not fit the model.
    """
    from flexlam.core.machine import choose_device, describe_machine
    from flexlam.policy.model import load_policy
    from flexlam.training.pairs import load_pairs
    from flexlam.training.runs import open_lam

    device = choose_device(options.device)
    lam_run, lam = open_lam(options.lam, device)
    path = getattr(options, "policy", None)
    policy = load_policy(path, lam.hash, device) if path else None
    pairs = load_pairs(options.data, lam_run.pairs, lam.frame_shape)
    parents = {"lam": lam.hash} | ({"policy": policy.hash} if policy else {})
    record = {
        "schema_version": 1,
        "kind": kind,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_hash": settings.hash(),
        "data_hash": pairs.store.content_hash,
        "parent_hashes": parents,
        "machine": describe_machine(),
    }
    return Measured(lam, policy, pairs, record)


def run_measurement(kind: str, options_class: type[Measurement], prog: str, arguments: Sequence[str]) -> None:
    """Run `measure_KIND` of flexlam/evaluate/KIND.py with the settings that a preset has under that name."""
    options, settings = parse_with_preset(options_class, kind, prog, arguments)
    from flexlam.report.table import measurement_table

    measure: Any = getattr(import_module(f"flexlam.evaluate.{kind}"), f"measure_{kind}")
    opened = open_measured(options, kind, " ".join([prog, *arguments]), settings)
    given = {"policy": opened.policy} if opened.policy else {}
    results = opened.record | measure(opened.lam, opened.pairs, settings, **given)
    write_results(options, results)
    print(measurement_table(results).to_text())


def write_results(options: Measurement, results: dict[str, Any]) -> None:
    """Keep the figures where the options say."""
    if options.json:
        write_text(options.json, json.dumps(results, indent=2) + "\n")

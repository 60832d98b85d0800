"""What the `eval` verbs have in common: open a run and a store, measure, print a table, keep the figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from flexlam.cli.options import Report
from flexlam.cli.parse import parse_with_preset
from flexlam.core.files import write_text


@dataclass(frozen=True, kw_only=True)
class Measurement(Report):
    """A measurement of a latent action model on a store."""

    lam: Path
    """Run folder of the latent action model."""
    data: Path
    """Frame store."""


def run_measurement(kind: str, options_class: type[Measurement], prog: str, arguments: Sequence[str]) -> None:
    """Run `measure_KIND` of flexlam/evaluate/KIND.py with the settings that a preset has under that name."""
    options, settings = parse_with_preset(options_class, kind, prog, arguments)
    from flexlam.core.machine import choose_device, describe_machine
    from flexlam.report.table import measurement_table
    from flexlam.training.pairs import load_pairs
    from flexlam.training.runs import open_lam

    measure: Any = getattr(import_module(f"flexlam.evaluate.{kind}"), f"measure_{kind}")
    lam_run, model = open_lam(options.lam, choose_device(options.device))
    pairs = load_pairs(options.data, lam_run.pairs, model.frame_shape)
    results = {
        "schema_version": 1,
        "kind": kind,
        "command": " ".join([prog, *arguments]),
        "config_hash": settings.hash(),
        "data_hash": pairs.store.content_hash,
        "parent_hashes": {"lam": model.hash},
        "machine": describe_machine(),
        **measure(model, pairs, settings),
    }
    if options.json:
        write_text(options.json, json.dumps(results, indent=2) + "\n")
    print(measurement_table(results).to_text())

"""flexlam eval alignment PRESET --lam RUN --data STORE."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import Report
from flexlam.cli.parse import parse_with_preset
from flexlam.core.files import write_text


@dataclass(frozen=True, kw_only=True)
class EvalAlignment(Report):
    """Measure how well a few labels turn codes into actions, at every prefix length, beside the baselines."""

    lam: Path
    """Run folder of the latent action model."""
    data: Path
    """Frame store with actions."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, measure, print a table."""
    options, settings = parse_with_preset(EvalAlignment, "alignment", prog, arguments)
    from flexlam.core.machine import choose_device
    from flexlam.evaluate.alignment import measure_alignment
    from flexlam.report.table import measurement_table
    from flexlam.training.pairs import load_pairs
    from flexlam.training.runs import open_lam

    lam_run, model = open_lam(options.lam, choose_device(options.device))
    results = measure_alignment(model, load_pairs(options.data, lam_run.pairs, model.frame_shape), settings)
    if options.json:
        write_text(options.json, json.dumps(results, indent=2) + "\n")
    print(measurement_table(results).to_text())

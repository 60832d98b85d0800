"""flexlam eval alignment PRESET --lam RUN --data STORE."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexlam.cli.measure import Measurement, run_measurement


@dataclass(frozen=True, kw_only=True)
class EvalAlignment(Measurement):
    """Measure how well a few labels turn codes into actions, at every prefix length, beside the baselines."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, measure, print a table."""
    run_measurement("alignment", EvalAlignment, prog, arguments)

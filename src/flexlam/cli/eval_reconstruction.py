"""flexlam eval reconstruction PRESET --lam RUN --data STORE."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexlam.cli.measure import Measurement, run_measurement


@dataclass(frozen=True, kw_only=True)
class EvalReconstruction(Measurement):
    """Measure how well next frames are decoded at every prefix length."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, measure, print a table."""
    run_measurement("reconstruction", EvalReconstruction, prog, arguments)

"""flexlam eval alignment PRESET --lam RUN --data STORE [--policy RUN]."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.measure import Measurement, run_measurement


@dataclass(frozen=True, kw_only=True)
class EvalAlignment(Measurement):
    """Measure how well a few labels turn codes into actions, at every prefix length, beside the baselines."""

    policy: Path | None = None
    """Run folder of a policy; with it, the loss on the latent actions that it predicts is measured, too."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, measure, print a table."""
    run_measurement("alignment", EvalAlignment, prog, arguments)

"""flexlam train joint PRESET --lam RUN --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import ResumableOutput
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class TrainJoint(ResumableOutput):
    """Train on from a finished model with the action loss of a few labels added (a new model and its translator)."""

    lam: Path
    """Run folder of the latent action model to start from."""
    data: Path
    """Frame store with actions."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and train."""
    options, settings = parse_with_preset(TrainJoint, "joint", prog, arguments)
    from flexlam.training.joint import train_joint

    finished = options.finished_before()
    done = train_joint(settings, options.lam, options.data, options.out, options.overwrite, options.resume)
    if finished:
        print(f"The run {done.path} had finished before; nothing was left to do.")
    print(f"Model: {done.model}\nTranslator: {done.path / 'translator'}")

"""flexlam train policy PRESET --lam RUN --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import ResumableOutput
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class TrainPolicy(ResumableOutput):
    """Train a policy that predicts latent actions, on the codes of a trained model; no labels are read.

    --policy.name says of which kind: sequence, flow or regression.
    """

    lam: Path
    """Run folder of the latent action model (flexlam train lam or joint)."""
    data: Path
    """Frame store; it needs no actions."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and train."""
    options, settings = parse_with_preset(TrainPolicy, "policy", prog, arguments)
    from flexlam.training.policy import train_policy

    finished = options.finished_before()
    done = train_policy(settings, options.lam, options.data, options.out, options.overwrite, options.resume)
    if finished:
        print(f"The run {done.path} had finished before; nothing was left to do.")
    loss = next(row for row in reversed(done.metrics()) if "validation/loss" in row)
    print(f"Validation: {_told(loss)}.\n{settings.policy.name.capitalize()} policy: {done.model}")


def _told(found: dict[str, float]) -> str:
    """What was measured on validation transitions, in words."""
    if "validation/decision_loss" in found:
        first = found["validation/decision_loss_first_slot"]
        return f"{found['validation/decision_loss']:.3f} nats a code, {first:.3f} in the first slot"
    told = f"squared error {found['validation/loss']:.3f} a normalised coordinate"
    if "validation/energy_distance" in found:
        told += (
            f", {found['validation/sampled_error']:.3f} of a draw; energy distance of draws "
            f"from the data {found['validation/energy_distance']:.3f}"
        )
    return told

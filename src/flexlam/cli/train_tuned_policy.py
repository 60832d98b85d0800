"""flexlam train tuned-policy PRESET --lam RUN --policy RUN --translator RUN --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import ResumableOutput
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class TrainTunedPolicy(ResumableOutput):
    """Go on training a flow or regression policy together with its translator, on a few labels (a new pair of both)."""

    lam: Path
    """Run folder of the latent action model (flexlam train lam or joint)."""
    policy: Path
    """Run folder of the policy to start from (flexlam train policy --policy.name flow or regression)."""
    translator: Path
    """Run folder of the translator to start from (flexlam train translator)."""
    data: Path
    """Frame store with actions; the labels are drawn from its training episodes."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and train."""
    options, settings = parse_with_preset(TrainTunedPolicy, "tuned_policy", prog, arguments)
    from flexlam.training.tuned_policy import train_tuned_policy

    finished = options.finished_before()
    start = options.lam, options.policy, options.translator
    done = train_tuned_policy(settings, *start, options.data, options.out, options.overwrite, options.resume)
    if finished:
        print(f"The run {done.path} had finished before; nothing was left to do.")
    loss = next(row for row in reversed(done.metrics()) if "validation/loss" in row)["validation/loss"]
    print(f"Validation: action loss {loss:.3f} on the tuned policy's latents.")
    print(f"Policy: {done.model}\nTranslator: {done.path / 'translator'}")

"""flexlam train tuned-policy PRESET --lam RUN --policy RUN --translator RUN --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import ResumableOutput
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class TrainTunedPolicy(ResumableOutput):
    """Go on training a flow or regression policy together with its translator on the translator's labels (a new pair).

    For other labels give --labels.count or --labels.fraction.
    """

    lam: Path
    """Run folder of the latent action model (flexlam train lam or joint)."""
    policy: Path
    """Run folder of the policy to start from (flexlam train policy --policy.name flow or regression)."""
    translator: Path
    """Run folder of the translator to start from (flexlam train translator); its labels lie there, too."""
    data: Path
    """Frame store that the labels belong to."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and train."""
    options, settings = parse_with_preset(TrainTunedPolicy, "tuned_policy", prog, arguments)
    from flexlam.training.tuned_policy import train_tuned_policy

    finished = options.finished_before()
    start = options.lam, options.policy, options.translator
    done = train_tuned_policy(settings, *start, options.data, options.out, options.overwrite, options.resume)
    if finished:
        print(f"The run {done.path} had finished before; nothing was left to do.")
    losses = [row["validation/loss"] for row in done.metrics() if "validation/loss" in row]
    told = f"action loss {losses[-1]:.3f} on the tuned policy's latents" if losses else "no other actions are known"
    print(f"Validation: {told}.")
    print(f"Policy: {done.model}\nTranslator: {done.path / 'translator'}")

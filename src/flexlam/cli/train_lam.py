"""flexlam train lam PRESET --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import ResumableOutput
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class TrainLam(ResumableOutput):
    """Train a latent action model on action-free transitions."""

    data: Path
    """Frame store (flexlam data convert)."""
    twin: Path | None = None
    """Frame store of the same games before other backgrounds (collect with another --overlay-seed), for objectives that
    compare the two."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and train."""
    options, settings = parse_with_preset(TrainLam, "lam", prog, arguments)
    from flexlam.training.lam import train_lam

    finished = options.finished_before()
    done = train_lam(settings, options.data, options.out, options.overwrite, options.resume, options.twin)
    if finished:
        print(f"The run {done.path} had finished before; nothing was left to do.")
    health = done.read_json("health.json")
    print(f"Verdict: {health['verdict']} ({health['reason']}).\nModel: {done.model}")

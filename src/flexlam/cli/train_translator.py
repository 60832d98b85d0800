"""flexlam train translator PRESET --lam RUN --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.options import Output
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class TrainTranslator(Output):
    """Fit a translator from the codes of a trained model to actions, on a few labels."""

    lam: Path
    """Run folder of the latent action model (flexlam train lam or joint)."""
    data: Path
    """Frame store with actions; the labels are drawn from its training episodes. Without actions: see --label-file."""
    label_file: str | None = None
    """A few labels for video without actions: csv or parquet with path, time (or frame) and the action."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and fit."""
    options, settings = parse_with_preset(TrainTranslator, "translator", prog, arguments)
    from flexlam.data.location import located
    from flexlam.training.translator import train_translator, train_translator_by_hand

    if options.label_file is None:
        done = train_translator(settings, options.lam, options.data, options.out, options.overwrite)
    else:
        labels = located(options.label_file)
        done = train_translator_by_hand(
            settings, options.lam, options.data, labels, options.out, overwrite=options.overwrite
        )
    fit = done.read_json("fit.json")
    if "labels" in fit:
        print(f"{fit['labels']}.")
    losses = ", ".join(f"{loss:.3f}" for loss in fit["heldout_loss"])
    print(f"Held-out loss inside the labels: {losses}.")
    if fit.get("heldout_accuracy") is not None:
        print(f"Held-out accuracy: {_accuracy(fit['heldout_accuracy'], fit['num_labels'])}.")
    if heldout := fit.get("labelled_heldout_episodes"):
        print(
            f"Labels lie in {', '.join(heldout)}, which the model keeps for choosing and measuring; what is measured "
            "there says less now."
        )
    print(f"Translator: {done.model}")


def _accuracy(share: float, num_labels: int) -> str:
    """With its standard error, and what it is worth."""
    from flexlam.metrics.intervals import share_stderr

    stderr = share_stderr(share, num_labels)
    few = ", too few labels to know it better; label more before you believe the actions" if stderr > 0.1 else ""
    return f"{share:.0%} +- {stderr:.0%}{few}"

"""flexlam train translator PRESET --lam RUN --data STORE --out RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flexlam.cli.options import Output
from flexlam.cli.parse import parse_with_preset

if TYPE_CHECKING:
    from flexlam.core.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class TrainTranslator(Output):
    """Fit a translator from the codes of a trained model to actions, on a few labels."""

    lam: Path
    """Run folder of the latent action model (flexlam train lam or joint)."""
    data: Path
    """Frame store with actions; the labels are drawn from its training episodes. Without actions: see --label-file."""
    policy: Path | None = None
    """Run folder of a policy: what the translator makes of its latents is measured, and --latents.source may take them
    for the labelled transitions."""
    label_file: str | None = None
    """A few labels for video without actions: csv or parquet with path, time (or frame) and the action."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and fit."""
    options, settings = parse_with_preset(TrainTranslator, "translator", prog, arguments)
    from flexlam.data.location import located
    from flexlam.training.translator import train_translator, train_translator_by_hand

    paths = options.lam, options.data
    if options.label_file is None:
        done = train_translator(settings, *paths, options.out, options.overwrite, options.policy)
    else:
        labels = located(options.label_file)
        done = train_translator_by_hand(settings, *paths, labels, options.out, options.overwrite, options.policy)
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
    if options.policy is not None and options.label_file is None:
        print(_misalignment(options, settings.latents.num_steps, done))
    print(f"Translator: {done.model}")


def _misalignment(options: TrainTranslator, num_steps: int, run: "RunFolder") -> str:
    """What the translator makes of the policy's latents, kept as misalignment.json; in words for the largest k."""
    import torch

    from flexlam.evaluate.misalignment import MisalignmentConfig, measure_misalignment
    from flexlam.policy.model import load_policy
    from flexlam.training.pairs import load_pairs
    from flexlam.training.runs import open_lam
    from flexlam.translator.model import load_translator

    assert options.policy is not None
    lam_run, lam = open_lam(options.lam, torch.device("cpu"))
    pairs = load_pairs(options.data, lam_run.pairs, lam.frame_shape)
    policy, translator = load_policy(options.policy, lam.hash), load_translator(run.path, lam.hash)
    found = measure_misalignment(lam, pairs, MisalignmentConfig(num_steps=num_steps), policy, translator)
    run.write_json("misalignment.json", found)
    row = found["rows"][-1]
    told = (f"{row[name + 'action_loss']:.3f}{_share(row[name + 'action_accuracy'])}" for name in ("", "encoded_"))
    return "Validation at k = {}: loss {} on the policy's latents, {} on encoded ones.".format(row["k"], *told)


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else f" ({accuracy:.0%} right)"


def _accuracy(share: float, num_labels: int) -> str:
    """With its standard error, and what it is worth."""
    from flexlam.metrics.intervals import share_stderr

    stderr = share_stderr(share, num_labels)
    few = ", too few labels to know it better; label more before you believe the actions" if stderr > 0.1 else ""
    return f"{share:.0%} +- {stderr:.0%}{few}"

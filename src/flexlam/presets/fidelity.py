"""Where every setting of the `vizdoom` preset comes from: `python -m flexlam.presets.fidelity > docs/fidelity.md`.

The tables of the FlexLAM paper with its sizes could not be recovered, so many are inferred. This page says which.
"""

from typing import Any

from flexlam.presets.base import load_preset

PRESET = "vizdoom"
_ENCODER = (
    "inferred",
    "the paper's real-video encoder is a ViT over tubelets of two frames (App. E.4); this size is ours",
)
_DIT = ("inferred", "DiT small of the first author's public minisora code, same data and resolution")

# setting -> (paper | inferred | ours, where or why). A test holds this to the preset: nothing missing, nothing extra.
SOURCES: dict[str, tuple[str, str]] = {
    "recording.suite": ("ours", "ViZDoom stands in for DeepMind Lab, which has no wheel"),
    "recording.tasks": ("ours", "11 evaluated tasks and one low-return source, as many as the paper's (App. A.2)"),
    "recording.num_frames": ("ours", "the paper has 9,000,000 a task"),
    "recording.behaviour": ("ours", "the paper's videos are of a DreamerV3 agent (App. A.1)"),
    "recording.noise": ("ours", "share of random decisions"),
    "recording.seed": ("ours", ""),
    "recording.overlays": ("ours", "none, as in the paper"),
    "store.frame_size": ("paper", "64×64 RGB (App. A.1)"),
    "store.codec": ("ours", ""),
    "store.shard_bytes": ("ours", ""),
    "lam.lam.num_slots": ("paper", "K = 64 (App. A.3)"),
    "lam.lam.prefix_sampling": ("paper", "k ~ Unif{0..K}, per example (§4.1, App. A.7)"),
    "lam.lam.encoder.name": ("paper", "two consecutive frames to a token sequence (App. A.4)"),
    "lam.lam.encoder.patch_size": _ENCODER,
    "lam.lam.encoder.dim": _ENCODER,
    "lam.lam.encoder.depth": _ENCODER,
    "lam.lam.encoder.num_heads": _ENCODER,
    "lam.lam.quantizer.name": ("paper", "FSQ (App. A.3)"),
    "lam.lam.quantizer.levels": ("inferred", "the real-video levels (App. E.4); those of DMLab are lost"),
    "lam.lam.quantizer.normalize": ("ours", "against collapse (docs/decisions.md)"),
    "lam.lam.decoder.name": ("paper", "DiT under rectified flow, o_t by channel concatenation (App. A.4–5)"),
    "lam.lam.decoder.patch_size": _DIT,
    "lam.lam.decoder.dim": _DIT,
    "lam.lam.decoder.depth": _DIT,
    "lam.lam.decoder.num_heads": _DIT,
    "lam.lam.decoder.pure_noise_share": ("ours", "a pure logit-normal density let our decoder ignore the codes"),
    "lam.lam.decoder.time_mean": ("ours", "logit-normal as in Esser et al. 2024"),
    "lam.lam.decoder.time_std": ("inferred", "logit-normal as in Esser et al. 2024"),
    "lam.pairs.gap_steps": ("paper", "adjacent frames (§5.1)"),
    "lam.pairs.gap_seconds": ("ours", "unset"),
    "lam.pairs.split": ("ours", "the paper holds out one test step in ten (App. A.1)"),
    "lam.pairs.split_seed": ("ours", ""),
    "translator.translator.name": ("paper", "one translator trained under p(k) (§4.2)"),
    "translator.translator.network.wide_dim": ("inferred", "an hourglass MLP (App. A.4); its sizes are lost"),
    "translator.translator.network.narrow_dim": ("inferred", "an hourglass MLP (App. A.4); its sizes are lost"),
    "translator.translator.network.num_blocks": ("inferred", "an hourglass MLP (App. A.4); its sizes are lost"),
    "translator.translator.network.dropout": ("ours", "against overfitting a few labels (docs/log.md)"),
    "translator.translator.network.input_dropout": ("ours", "against overfitting a few labels (docs/log.md)"),
    "translator.translator.use_prev_action": ("paper", "conditions on a_{t−1} (§4.2)"),
    "translator.translator.prefix_sampling": ("paper", "the p(k) of the model (§4.2)"),
    "translator.labels.count": ("ours", "the paper has 36,000 or so (0.025 %)"),
    "translator.labels.fraction": ("ours", "unset"),
    "translator.labels.task": ("ours", "unset: labels from every task"),
    "translator.fit": ("ours", "chosen by folds inside the labels; the paper has a validation set (App. A.6)"),
    "translator.seed": ("ours", ""),
    "translator.draw": ("ours", ""),
    "translator.device": ("ours", ""),
    "joint.action_weight": ("ours", "the paper gives none (§6.3)"),
    "joint.max_shift": ("ours", "against overfitting the labels"),
    "joint.training": ("ours", "the paper gives none (§6.3)"),
    "lam.training": (
        "ours",
        "the paper names one GPU and 24 hours; its real-video model takes 200,000 steps (App. E.4)",
    ),
}
SECTIONS = ("recording", "store", "lam", "translator", "joint")


def settings() -> dict[str, Any]:
    """Every setting that shapes a model or its data, by dotted name; `SOURCES` may speak for a whole group."""
    values = load_preset(PRESET).model_dump(mode="json")
    flat: dict[str, Any] = {}
    for section in SECTIONS:
        _flatten(values[section], section, flat)
    # Stage 4 repeats the translator and labels of stage 3.
    repeated = ("joint.translator", "joint.labels", "joint.draw")
    return {name: value for name, value in flat.items() if not name.startswith(repeated)}


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Fidelity: which settings are the paper's",
        "",
        f"Settings of the preset `{PRESET}`, which follows the DMLab part of FlexLAM (arXiv 2606.19408) most closely.",
        "**paper**: stated there. **inferred**: from the paper's other experiment or its first author's public code,",
        "because the paper's own table is lost to us. **ours**: chosen by us. Generated by",
        "`python -m flexlam.presets.fidelity`; a test keeps it in step with the code.",
        "",
        "| setting | value | source | where, or why |",
        "|---|---|---|---|",
    ]
    for name, value in settings().items():
        mark, where = SOURCES[name]
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        lines.append(f"| `{name}` | {shown or '–'} | {mark} | {where} |")
    return "\n".join(lines) + "\n"


def _flatten(values: Any, name: str, flat: dict[str, Any]) -> None:
    if isinstance(values, dict) and name not in SOURCES:
        for key, value in values.items():
            _flatten(value, f"{name}.{key}", flat)
    elif isinstance(values, dict):
        flat[name] = ", ".join(f"{key} {value}" for key, value in values.items() if not isinstance(value, dict))
    else:
        flat[name] = values


if __name__ == "__main__":
    print(page(), end="")

"""Where every setting of the `vizdoom` preset comes from: `python -m flexlam.presets.fidelity > docs/fidelity.md`.

The tables of the FlexLAM paper with its sizes could not be recovered, so many are inferred. This page says which.
"""

from collections.abc import Sequence
from typing import Any

from flexlam.presets.base import load_preset

PRESET = "vizdoom"
_ENCODER = (
    "inferred",
    "the paper's real-video encoder is a ViT over tubelets of two frames (App. E.4); this size is ours",
)
_SIZE = ("ours", "Qwen-style (App. B.4); its sizes (Table 8) are lost")
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
    "store.fit": ("ours", ""),
    "store.frame_gap": ("ours", ""),
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
    "translator.translator.use_obs": ("paper", "o_t is not read; an ablation (Fig. 10)"),
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
    "policy.policy.context_frames": ("paper", "34 frames, in training and in acting (App. B.1)"),
    "policy.policy.stride": ("paper", "s = 8, the newest frame always included (App. B.1)"),
    "policy.policy.patch_size": ("ours", "patch embeddings of frames (App. B.1); their size is lost"),
    "policy.policy.stem": ("ours", "none; small presets merge patches step by step (docs/log.md)"),
    "policy.policy.transformer.dim": _SIZE,
    "policy.policy.transformer.depth": _SIZE,
    "policy.policy.transformer.num_heads": _SIZE,
    "policy.policy.transformer.num_key_heads": ("inferred", "fewer than query heads, as in Qwen3; how many is ours"),
    "policy.policy.transformer.head_dim": _SIZE,
    "policy.policy.transformer.hidden_dim": _SIZE,
    "policy.policy.transformer.rope_theta": ("inferred", "RoPE (App. B.4); the base is that of Qwen3"),
    "policy.policy.transformer.norm_eps": ("inferred", "that of Qwen3"),
    "policy.first_context_frames": ("ours", "two stages, the second with all 34 frames (App. B.6); the first is lost"),
    "policy.first_share": ("ours", "where the first stage ends is lost"),
    "policy.training": ("ours", "the paper names one GPU and 46 hours (App. A.6)"),
    "returns.translator.use_prev_action": (
        "ours",
        "the paper feeds a_{t−1} (App. B.5, Algorithm 1); an agent that is given it repeats itself (docs/decisions.md)",
    ),
    "returns.translator.use_obs": ("paper", "o_t is not read (§4.2)"),
    "returns.rule": ("ours", "the paper does not say how codes are drawn; one rule for everybody"),
    "returns.cloning": ("ours", "the paper has no such baseline"),
    "returns.idm_fit": ("ours", "the paper has no such baseline"),
    "returns.baselines": ("ours", "the paper compares bottlenecks with each other only"),
    "returns.seed": ("ours", ""),
    "returns.suite": ("ours", "where the data were recorded"),
    "returns.overlays": ("ours", "none, as in the paper"),
    "returns.tasks": ("ours", "unset: those of the recording; the paper evaluates 11 of its 16 (App. A.2)"),
    "returns.num_episodes": ("paper", "50 a task (Table 9)"),
    "returns.num_episodes_beside": ("ours", "unset: as many as at the others"),
    "returns.fewer_episodes": ("ours", "unset: none has fewer"),
    "returns.num_choice_episodes": ("ours", "validation episodes, for the best constant action"),
    "returns.num_environments": ("ours", "for speed"),
    "returns.num_shuffles": ("ours", "the paper has no such control"),
    "returns.num_workers": ("ours", "for speed"),
    "returns.precision": ("ours", "of the encoder while acting"),
    "returns.prefix_lengths": ("ours", "unset: 0, 1, 2, 4, ... and K; the paper reports no k = 0 (App. A.7)"),
    "returns.candidate_rules": ("ours", "unset: the rule is fixed beforehand"),
    "latency.prefix_lengths": ("ours", "unset: 1, 2, 4, ... and K"),
    "latency.num_warmup": ("paper", "20 decisions (App. B.6); here they come after the context is full"),
    "latency.num_steps": ("paper", "the mean of 100 decisions (App. B.6)"),
    "latency.num_repeats": ("ours", "one round"),
    "latency.seed": ("ours", ""),
}
SECTIONS = ("recording", "store", "lam", "policy", "translator", "joint", "returns", "latency")

# Settings that stand twice -> where the page shows them; one that differs is shown like any other.
REPEATED = {
    "joint.translator": "translator.translator",
    "joint.labels": "translator.labels",
    "joint.draw": "translator.draw",
    "returns.translator.name": "translator.translator.name",
    "returns.translator.network": "translator.translator.network",
    "returns.translator.prefix_sampling": "translator.translator.prefix_sampling",
    "returns.labels": "translator.labels",
    "returns.draw": "translator.draw",
    "returns.fit": "translator.fit",
    "latency.rule": "returns.rule",
}

# How acting is built, where that is no setting: what, source, where or why.
BUILT: tuple[tuple[str, str, str], ...] = (
    ("a decoder-only causal transformer, Qwen-style, with RoPE", "paper", "App. B.4"),
    (
        "RMSNorm, SwiGLU, grouped-query attention, normalised queries and keys",
        "inferred",
        "the first author's public code builds on Qwen3",
    ),
    ("patches of sparse frames between whole code blocks, the newest frame last", "paper", "App. B.1"),
    (
        "frames of the past are those at episode steps that the stride divides",
        "ours",
        "App. B.1 counts back from the newest; the frames would change at every step, and no history could stay cached",
    ),
    ("targets are whole blocks; the loss is over all code positions", "paper", "App. B.2"),
    ("the decision of each step, on a branch with its newest frame, is a target, too", "ours", "docs/acting.md"),
    ("two stages of training, the second with the whole context", "paper", "App. B.4, B.6"),
    ("k codes are predicted, the rest null-filled; the history holds whole blocks", "paper", "App. B.5, Algorithm 1"),
    ("the realised transition is encoded and appended", "paper", "App. B.5, Algorithm 1"),
    (
        "a window that moves is computed anew",
        "ours",
        "history is never recomputed in App. B.6; kept keys would depend on what left the window",
    ),
    ("translated are predicted codes, after training on encoded ones", "paper", "App. B.3"),
    ("normalised return (R − random) / (expert − random)", "ours", "the paper divides by the expert's (Table 9)"),
    ("batch 1, parts: prepare, encode, context, generate, fill, translate", "paper", "App. B.6"),
    ("latency in float32, every code sample counted", "ours", "the paper has bf16 (App. B.6)"),
)


def settings() -> dict[str, Any]:
    """Every setting that shapes a model, its data or its acting, by dotted name; `SOURCES` may speak for a group."""
    values = load_preset(PRESET).model_dump(mode="json")
    repeated = [copy for copy, original in REPEATED.items() if _at(values, copy) == _at(values, original)]
    flat: dict[str, Any] = {}
    for section in SECTIONS:
        _flatten(values[section], section, flat, repeated)
    return flat


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Fidelity: which settings are the paper's",
        "",
        f"Settings of the preset `{PRESET}`, which follows the DMLab part of FlexLAM (arXiv 2606.19408) most closely.",
        "**paper**: stated there. **inferred**: from the paper's other experiment or its first author's public code,",
        "because the paper's own table is lost to us. **ours**: chosen by us. Generated by",
        "`python -m flexlam.presets.fidelity`; a test keeps it in step with the code. Not shown: how alignment and",
        "reconstruction are measured, and settings that repeat those of another stage.",
        "",
        "| setting | value | source | where, or why |",
        "|---|---|---|---|",
    ]
    for name, value in settings().items():
        mark, where = SOURCES[name]
        lines.append(f"| `{name}` | {_shown(value) or '–'} | {mark} | {where} |")
    lines += ["", "How acting is built, where that is no setting:", ""]
    lines += ["| what | source | where, or why |", "|---|---|---|"]
    lines += [f"| {what} | {mark} | {where} |" for what, mark, where in BUILT]
    return "\n".join(lines) + "\n"


def _flatten(values: Any, name: str, flat: dict[str, Any], left_out: Sequence[str]) -> None:
    if name in left_out:
        return
    if isinstance(values, dict) and name not in SOURCES:
        for key, value in values.items():
            _flatten(value, f"{name}.{key}", flat, left_out)
    else:
        flat[name] = values


def _shown(value: Any) -> str:
    """A setting, or a group of them, in one cell."""
    if isinstance(value, dict):
        return ", ".join(
            f"{key} ({_shown(inner)})" if isinstance(inner, dict | list) else f"{key} {inner}"
            for key, inner in value.items()
        )
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _at(values: Any, name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values


if __name__ == "__main__":
    print(page(), end="")

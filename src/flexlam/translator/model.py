"""Translators on disk. Each knows the model whose codes it was trained on, and refuses any other."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from flexlam.core import catalog
from flexlam.core.action import ActionSpec
from flexlam.core.checkpoint import bundle_of, load_weights, read_bundle, write_bundle
from flexlam.core.config import Config, component
from flexlam.core.errors import CheckpointError, ConfigError
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.serving import Translator

KIND = "translator"


class _Description(Config):
    """What a translator bundle says of itself."""

    translator: component(TranslatorConfig)  # type: ignore[valid-type]
    action_spec: ActionSpec
    num_slots: int


def build_translator(
    config: TranslatorConfig, spec: ActionSpec, null_latent: Float[Tensor, "D"], num_slots: int
) -> Translator:
    """The translator that a configuration names."""
    make: type[Translator] = catalog.lookup("translator", config.name)
    return make(config, spec, null_latent.detach().cpu(), num_slots)


def save_translator(translator: Translator, path: Path, lam_hash: str, **state: Any) -> str:
    """Write a translator as a bundle and return its hash.

    Raises:
        OutputError: the disk is full or the place cannot be written.
    """
    description = _Description(
        translator=translator.config, action_spec=translator.codec.spec, num_slots=translator.num_slots
    )
    tensors = {"model": translator.state_dict()}
    return write_bundle(path, KIND, description.model_dump(mode="json"), tensors, {"lam_hash": lam_hash, **state})


def translator_bundle(path: Path) -> Path:
    """The folder with the translator of a run or of a shared model, or the translator itself."""
    # stage 4 and shared models keep it apart
    return path / "translator" if (path / "translator").exists() else bundle_of(path)


def read_hash(path: Path) -> str:
    """Content hash of a translator (a bundle, or that of a run folder).

    Raises:
        CheckpointError: missing or damaged.
    """
    return read_bundle(translator_bundle(path), KIND).hash


def load_translator(path: Path, lam_hash: str | None) -> Translator:
    """Load a translator (a bundle, or that of a run or a shared model) for the model with a hash, in evaluation mode.

    Raises:
        CheckpointError: missing or damaged, or trained on the codes of another model.
    """
    path = translator_bundle(path)
    bundle = read_bundle(path, KIND)
    if bundle.state["lam_hash"] != lam_hash:
        raise CheckpointError(
            f"The translator {path} was trained on the codes of model {bundle.state['lam_hash']}, not of {lam_hash}. "
            "Codes mean something else in every model: train a translator for this one (flexlam train translator)."
        )
    description = _Description.parse(bundle.config, where=str(path))
    null_latent = bundle.tensors["model"]["prefix.null_latent"]
    translator = build_translator(description.translator, description.action_spec, null_latent, description.num_slots)
    load_weights(translator, bundle.tensors["model"], path)
    translator.policy_hash = bundle.state.get("policy_hash")
    return translator.eval()


def require_policy(translator: Translator, policy_hash: str | None) -> None:
    """Refuse a translator that has learned from the latents of another policy than the one with a hash.

    Raises:
        CheckpointError: it has.
    """
    if translator.policy_hash not in (None, policy_hash):
        raise CheckpointError(
            f"The translator was fitted to latents of policy {translator.policy_hash} (by tuned-policy, or by train "
            f"translator with --latents.source sampled or interpolated); it was given with policy {policy_hash}. Give "
            "the policy of that hash (a tuned policy and its translator lie in one run), or fit a translator to this "
            "one: flexlam train translator with --policy, or from encoded latents (--latents.source inferred), which "
            "goes with any policy."
        )


def load_code_translator(path: Path, lam_hash: str | None) -> Translator:
    """`load_translator` of one that reads codes alone, as is needed where nothing but video is known.

    Raises:
        CheckpointError: as `load_translator`.
        ConfigError: it reads the previous action or frames.
    """
    translator = load_translator(path, lam_hash)
    if translator.config.use_prev_action:
        raise ConfigError(
            f"The translator {path} reads the previous action, which video does not tell. Fit one without it: "
            "flexlam train translator with --translator.use-prev-action False, or with --label-file."
        )
    if translator.config.use_obs:
        raise ConfigError(f"The translator {path} reads frames; fit one that reads codes alone.")
    return translator

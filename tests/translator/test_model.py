import json
from pathlib import Path
from typing import Any

import pytest
import torch

from flexlam.core.action import ActionSpec
from flexlam.core.checkpoint import write_bundle
from flexlam.core.errors import CheckpointError
from flexlam.translator.base import HourglassConfig
from flexlam.translator.model import build_translator, load_translator, save_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixSampledTranslator, Translator

NETWORK = HourglassConfig(wide_dim=8, narrow_dim=4, num_blocks=1)
CONFIGS = (
    PrefixSampledTranslator.Config(network=NETWORK, prefix_sampling="powers-of-two", use_prev_action=False),
    PerPrefixTranslator.Config(network=NETWORK, prefix_lengths=(1, 3)),
)


def make(config: Any, spec: ActionSpec) -> Translator:
    torch.manual_seed(3)
    translator = build_translator(config, spec, torch.tensor([0.3, -0.2]), 3)
    actions = torch.rand(9, spec.num_dims, generator=torch.Generator().manual_seed(4))
    translator.codec.fit(actions.floor() if not spec.num_continuous else actions)
    return translator


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_what_is_loaded_answers_as_what_was_saved(
    config: Any, mixed: ActionSpec, tmp_path: Path, generator: torch.Generator
) -> None:
    translator = make(config, mixed).eval()
    save_translator(translator, tmp_path / "translator", "abc", data_hash="def")
    loaded = load_translator(tmp_path / "translator", "abc")
    assert type(loaded) is type(translator) and loaded.config == config and not loaded.training
    assert loaded.served == translator.served and loaded.codec.spec == mixed
    latents, previous = torch.randn(5, 3, 2, generator=generator), torch.zeros(5, 4)
    for k in translator.served:
        outputs = translator(latents, previous, k)
        assert torch.equal(loaded(latents, previous, k), outputs)
        assert torch.equal(loaded.codec.predict(outputs), translator.codec.predict(outputs))


@pytest.mark.parametrize("lam_hash", ["other", "", None])
def test_another_model_is_refused(lam_hash: str | None, mixed: ActionSpec, tmp_path: Path) -> None:
    save_translator(make(CONFIGS[0], mixed), tmp_path / "translator", "abc")
    with pytest.raises(CheckpointError, match=r"codes of model abc, not of .*train a translator for this one"):
        load_translator(tmp_path / "translator", lam_hash)


@pytest.mark.parametrize("name", ["model.safetensors", "bundle.json", "manifest.json"])
def test_a_truncated_translator_is_refused(name: str, mixed: ActionSpec, tmp_path: Path) -> None:
    save_translator(make(CONFIGS[0], mixed), tmp_path / "translator", "abc")
    file = tmp_path / "translator" / name
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="damaged"):
        load_translator(tmp_path / "translator", "abc")


def test_a_bundle_that_is_whole_but_does_not_fit_is_refused(mixed: ActionSpec, tmp_path: Path) -> None:
    """Weights of another size than the settings say, and a bundle of another kind."""
    translator = make(CONFIGS[0], mixed)
    save_translator(translator, tmp_path / "translator", "abc")
    config = json.loads((tmp_path / "translator" / "bundle.json").read_text())["config"]
    tensors = {"model": translator.state_dict()}
    write_bundle(tmp_path / "wrong", "translator", config | {"num_slots": 4}, tensors, {"lam_hash": "abc"})
    with pytest.raises(CheckpointError, match="does not fit its own configuration"):
        load_translator(tmp_path / "wrong", "abc")
    write_bundle(tmp_path / "foreign", "latent-action-model", config, tensors, {"lam_hash": "abc"})
    with pytest.raises(CheckpointError, match="holds a latent-action-model; expected a translator"):
        load_translator(tmp_path / "foreign", "abc")


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        load_translator(tmp_path / "nothing", "abc")

import pytest

from flexlam.core import catalog
from flexlam.lam.model import LatentActionModel
from flexlam.presets.base import Preset, load_preset


@pytest.mark.parametrize("name", catalog.names("preset"))
def test_every_preset_is_complete_and_survives_the_disk(name: str) -> None:
    preset = load_preset(name)
    assert Preset.parse(preset.model_dump(mode="json")) == preset
    model = LatentActionModel(preset.lam.lam, (*(preset.store.frame_size or (64, 64)), 3))
    assert sum(p.numel() for p in model.parameters()) > 1000


def test_the_demo_keeps_the_papers_translator() -> None:
    preset = load_preset("vizdoom-small")
    translator = preset.alignment.translator
    assert (translator.name, translator.prefix_sampling, translator.use_prev_action) == (
        "prefix-sampled",
        "uniform",
        True,
    )
    assert preset.lam.lam.prefix_sampling == "uniform"
    assert preset.alignment.labels.count == 256

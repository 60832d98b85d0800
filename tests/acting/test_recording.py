from pathlib import Path

import numpy as np
import pytest

from flexlam.acting.recording import RecordingConfig, record
from flexlam.core.errors import ConfigError
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_INNOVATION, EXOGENOUS_STATE
from flexlam.data.parts import StoreConfig
from flexlam.data.readers import open_dataset
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.data.twins import check_twins
from flexlam.envs.overlay import OverlayConfig

WAVES = OverlayConfig.parse({"name": "waves"})
GRID = RecordingConfig(suite="gridworld", tasks=("grid4", "grid8"), num_frames=90, overlays=(WAVES,))


def stored(config: RecordingConfig, path: Path) -> FrameStore:
    record(config, path / "recording")
    build_store(open_dataset(path / "recording"), path / "store", StoreConfig(), announce=lambda _: None)
    return FrameStore.open(path / "store")


def test_another_overlay_seed_records_a_twin(tmp_path: Path) -> None:
    one = stored(GRID, tmp_path / "one")
    other = stored(GRID.model_copy(update={"overlay_seed": 1}), tmp_path / "other")
    check_twins(one, other)
    assert one.tasks == ("grid4", "grid8") and one.num_frames == 180
    assert set(one.extras) == {ENDOGENOUS_STATE, EXOGENOUS_STATE, EXOGENOUS_INNOVATION, "goal_state"}
    np.testing.assert_array_equal(one.extras[ENDOGENOUS_STATE], other.extras[ENDOGENOUS_STATE])
    # Backgrounds of twins have nothing to do with each other.
    pair = [store.extras[EXOGENOUS_INNOVATION].ravel() for store in (one, other)]
    assert abs(np.corrcoef(*pair)[0, 1]) < 0.1
    first = one.episodes.starts
    assert not one.extras[EXOGENOUS_INNOVATION][first].any() and one.extras[EXOGENOUS_INNOVATION][first + 1].all()


def test_the_overlay_seed_is_the_seed_unless_told(tmp_path: Path) -> None:
    config = GRID.model_copy(update={"tasks": ("grid4",), "num_frames": 8, "seed": 5})
    hashes = [
        stored(config.model_copy(update={"overlay_seed": seed}), tmp_path / str(seed)).content_hash
        for seed in (None, 5, 6)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_settings_without_an_overlay_seed_are_written_as_before_there_was_one() -> None:
    """Steps of studies are found by the hash of their settings."""
    assert RecordingConfig().hash() == "b071a8f46d1780cb"
    assert "overlay_seed" not in RecordingConfig().model_dump()
    twin = GRID.model_copy(update={"overlay_seed": 3})
    assert twin.hash() != GRID.hash() and RecordingConfig.parse(twin.model_dump(mode="json")) == twin


def test_a_seed_for_overlays_that_are_not_there_is_refused(tmp_path: Path) -> None:
    config = GRID.model_copy(update={"overlays": (), "overlay_seed": 3})
    with pytest.raises(ConfigError, match="there are no overlays"):
        record(config, tmp_path / "out")
    assert not any(tmp_path.iterdir())

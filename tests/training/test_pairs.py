from pathlib import Path

import pytest

from flexlam.core.errors import DataError
from flexlam.data.store import FrameStore
from flexlam.training.pairs import open_twin
from known_world import known_store


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return known_store(tmp_path_factory.mktemp("known"), num_episodes=4, length=6)


def test_a_twin_is_opened_and_what_is_none_is_refused(world: FrameStore, store: FrameStore, tmp_path: Path) -> None:
    twin = known_store(tmp_path, num_episodes=4, length=6, background=1)
    assert open_twin(twin.path, world).content_hash == twin.content_hash
    with pytest.raises(DataError, match="no twins: all their frames are identical"):
        open_twin(world.path, world)
    with pytest.raises(DataError, match="16 x 16 x 3; the model was trained on 8 x 8 x 3"):
        open_twin(store.path, world)
    with pytest.raises(DataError, match="nothing at"):
        open_twin(tmp_path / "nowhere", world)

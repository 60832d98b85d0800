"""What every reader has in common: recognised by itself, read back exactly, from a folder or a URL."""

import numpy as np
import pytest
from upath import UPath

from dataset_formats import FORMATS, Made
from flexlam.core import catalog
from flexlam.data.readers import open_dataset


@pytest.fixture(params=FORMATS)
def made(request: pytest.FixtureRequest, tmp_path) -> tuple[str, Made]:
    name, write = FORMATS[request.param]
    return name, write(tmp_path / "dataset")


def test_every_reader_has_a_case() -> None:
    assert {name for name, _ in FORMATS.values()} == set(catalog.names("reader"))


def check(reader, made: Made) -> None:
    episodes = reader.episodes()
    assert [episode.task for episode in episodes] == [episode.task for episode in made.episodes]
    assert reader.info.num_episodes == len(made.episodes) and reader.info.frame_shape == (32, 32, 3)
    assert reader.info.tasks == tuple(dict.fromkeys(episode.task for episode in made.episodes))
    assert (reader.info.action_spec is not None) == made.has_actions and reader.info.fps == pytest.approx(made.fps)
    for found, wanted in zip(episodes, made.episodes, strict=True):
        assert found.length in (None, len(wanted.frames))
        assert np.array_equal(np.stack(list(reader.frames(found))), wanted.frames)
        columns = reader.columns(found)
        assert np.allclose(columns.times, np.arange(len(wanted.frames)) / made.fps, atol=2e-3)
        if made.has_actions:
            assert columns.actions.dtype == np.float32
            assert np.array_equal(columns.actions, wanted.columns.actions)
            assert reader.info.action_spec.num_dims == columns.actions.shape[1]


def test_a_dataset_is_recognised_and_read_back(made: tuple[str, Made]) -> None:
    name, written = made
    reader = open_dataset(written.path)
    assert reader.info.format == name
    check(reader, written)


def test_no_other_reader_claims_it(made: tuple[str, Made]) -> None:
    name, written = made
    claims = [other for other in catalog.names("reader") if catalog.lookup("reader", other).recognises(written.path)]
    # A recording with JSON beside its videos is a folder of videos, too, to who does not look at the JSON.
    assert claims == ([name, "video-folder"] if name == "mp4-json" else [name])


def test_a_url_is_read_as_a_folder_is(made: tuple[str, Made], request: pytest.FixtureRequest) -> None:
    _, written = made
    remote = UPath(f"memory://{request.node.name.replace('[', '-').strip(']')}/dataset")
    for file in written.path.rglob("*"):
        if file.is_file():
            target = remote / file.relative_to(written.path).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    check(open_dataset(str(remote)), written)


def test_episodes_can_be_read_in_any_order(made: tuple[str, Made]) -> None:
    reader = open_dataset(made[1].path)
    episodes = reader.episodes()
    for number in (2, 0, 1, 2):
        assert np.array_equal(np.stack(list(reader.frames(episodes[number]))), made[1].episodes[number].frames)

"""What the HDF5 layouts share: damage, cameras, frequencies."""

import h5py
import numpy as np
import pytest

from dataset_formats import laom, minari, robomimic, truncate
from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset
from flexlam.data.readers.robomimic import RobomimicReader


def test_a_damaged_file_fails_alone(tmp_path):
    made = robomimic(tmp_path / "d")
    truncate(made.path / "a.hdf5")
    reader = open_dataset(made.path)
    assert [(episode.name, episode.length) for episode in reader.episodes()] == [
        ("a.hdf5", None),
        ("b.hdf5/data/demo_0", 12),
    ]
    for read in (reader.columns, lambda episode: list(reader.frames(episode))):
        with pytest.raises(DataError, match=r"a\.hdf5 cannot be read"):
            read(reader.episodes()[0])
    assert np.array_equal(np.stack(list(reader.frames(reader.episodes()[1]))), made.episodes[2].frames)


def test_only_damaged_files_are_no_dataset(tmp_path):
    made = robomimic(tmp_path / "d")
    for file in made.path.iterdir():
        file.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(DataError, match="no known format"):
        open_dataset(made.path)
    with pytest.raises(DataError, match=r"holds no usable episode in the layout robomimic.*cannot be read"):
        RobomimicReader(made.path)


def test_an_episode_without_pictures_is_told(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((4, 2))
        file["data/demo_0/obs/joints"] = np.zeros((4, 7))
    with pytest.raises(DataError, match=r"demo_0 holds no pictures"):
        open_dataset(tmp_path)


def test_arrays_that_lack_rows_are_told(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for number, rewards in enumerate((4, 2)):
            group = file.create_group(str(number))
            group["obs"], group["actions"] = np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 2))
            group["rewards"] = np.zeros(rewards)
    reader = open_dataset(tmp_path)
    assert reader.columns(reader.episodes()[0]).rewards.tolist() == [0.0] * 4
    with pytest.raises(DataError, match=r"a\.hdf5/1.*2 rewards for 4 steps"):
        reader.columns(reader.episodes()[1])


def test_without_a_frequency_a_step_is_a_second_and_channels_may_come_first(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        frames = np.random.default_rng(0).integers(0, 255, (4, 3, 8, 6), np.uint8)
        file["one/obs"], file["one/actions"] = frames, np.zeros((4, 2))
    reader = open_dataset(tmp_path / "a.hdf5")
    assert (reader.info.fps, reader.info.frame_shape, reader.info.format) == (1.0, (8, 6, 3), "laom")
    assert np.array_equal(np.stack(list(reader.frames(reader.episodes()[0]))), frames.transpose(0, 2, 3, 1))


def test_minari_drops_what_follows_the_last_action(tmp_path):
    made = minari(tmp_path / "d")
    reader = open_dataset(made.path)
    assert [episode.length for episode in reader.episodes()] == [len(e.frames) for e in made.episodes]


def test_episodes_are_in_the_order_of_their_numbers(tmp_path):
    made = laom(tmp_path / "d")
    with h5py.File(made.path / "walker.hdf5", "a") as file:
        file["10/obs"], file["10/actions"] = made.episodes[0].frames, made.episodes[0].columns.actions
    names = [episode.name.rpartition("/")[2] for episode in open_dataset(made.path).episodes()]
    assert names == ["0", "1", "2", "10"]

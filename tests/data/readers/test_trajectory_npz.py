import numpy as np
import pytest

from dataset_formats import trajectory_npz, truncate
from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset
from flexlam.data.readers.trajectory_npz import TrajectoryNpzReader


def test_a_damaged_file_fails_alone(tmp_path):
    made = trajectory_npz(tmp_path / "d")
    truncate(made.path / "a/0.npz")
    reader = open_dataset(made.path)
    bad, *good = reader.episodes()
    assert bad.length is None and [episode.length for episode in good] == [14, 12]
    for read in (reader.columns, lambda episode: list(reader.frames(episode))):
        with pytest.raises(DataError, match=r"a/0\.npz cannot be read"):
            read(bad)


def test_video_without_actions_is_a_dataset(tmp_path):
    np.savez(tmp_path / "0.npz", video=np.zeros((5, 8, 8, 3), np.uint8))
    reader = open_dataset(tmp_path / "0.npz")
    assert reader.info.action_spec is None and reader.columns(reader.episodes()[0]).actions is None


def test_counts_and_kinds_are_checked(tmp_path):
    np.savez(tmp_path / "0.npz", video=np.zeros((5, 8, 8, 3), np.uint8), actions=np.zeros(4, int))
    reader = open_dataset(tmp_path)
    with pytest.raises(DataError, match="4 actions for 5 frames"):
        reader.columns(reader.episodes()[0])
    np.savez(tmp_path / "0.npz", video=np.zeros((5, 8, 8, 3), np.float32))
    with pytest.raises(DataError, match="frames are float32"):
        TrajectoryNpzReader(tmp_path)

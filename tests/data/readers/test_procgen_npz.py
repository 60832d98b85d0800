import numpy as np
import pytest

from dataset_formats import procgen_npz, truncate
from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset
from flexlam.data.readers.procgen_npz import ProcgenNpzReader


def test_a_chunk_may_cut_its_last_episode(tmp_path):
    done = np.zeros(10, bool)
    done[3] = True
    np.savez(tmp_path / "0.npz", obs=np.zeros((10, 8, 8, 3), np.uint8), ta=np.arange(10) % 3, done=done)
    reader = open_dataset(tmp_path)
    assert [episode.length for episode in reader.episodes()] == [4, 6]
    assert reader.columns(reader.episodes()[1]).actions[:, 0].tolist() == [1, 2, 0, 1, 2, 0]
    assert reader.columns(reader.episodes()[1]).rewards is None


def test_a_damaged_chunk_fails_alone(tmp_path):
    made = procgen_npz(tmp_path / "d")
    (made.path / "train/1.npz").write_bytes((made.path / "train/0.npz").read_bytes())
    truncate(made.path / "train/1.npz")
    reader = open_dataset(made.path)
    *good, bad = reader.episodes()
    assert len(good) == 3 and bad.length is None and reader.info.num_frames == sum(e.length for e in good)
    for read in (reader.columns, lambda episode: list(reader.frames(episode))):
        with pytest.raises(DataError, match=r"1\.npz cannot be read"):
            read(bad)


def test_what_is_no_chunk_is_told(tmp_path):
    np.savez(tmp_path / "0.npz", obs=np.zeros((10, 8, 8, 3), np.uint8), done=np.zeros(10, bool))
    with pytest.raises(DataError, match="lacks the arrays ta"):
        ProcgenNpzReader(tmp_path)

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, OutputError
from flexlam.data.readers.video_folder import VideoFolderReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import StoreConfig, build_store, resize


def quiet(reader, path, **settings):
    return build_store(reader, path, StoreConfig(**settings), announce=lambda _: None)


def test_bad_episodes_are_left_out_and_listed(make_episode, memory_reader, build):
    episodes = [make_episode(n, i) for i, n in enumerate((6, 5, 1, 4))]
    clean, _ = build(memory_reader([episodes[0], episodes[3]]), "clean")
    for settings in ({}, {"shard_bytes": 2_000}, {"codec": "webp"}):
        store, report = build(memory_reader(episodes, broken=(1,)), f"s{len(settings)}{settings}", **settings)
        assert [(s.episode, s.name) for s in report.skipped] == [(1, "episode 1"), (2, "episode 2")]
        assert "broken" in report.skipped[0].reason and "1 frame" in report.skipped[1].reason
        assert store.content_hash == clean.content_hash == report.content_hash
        assert np.array_equal(store.frames(np.arange(10)), clean.frames(np.arange(10)))
        assert store.episodes.source_index.tolist() == [0, 3]
        store.verify()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"actions": np.full((4, 1), 7, np.float32)}, "holds 7"),
        ({"actions": np.zeros((3, 1), np.float32)}, "3 actions for 4 frames"),
        ({"actions": None}, "no actions"),
        ({"times": np.arange(3) / 8.75, "actions": np.zeros((3, 1), np.float32)}, "more than 3 frames"),
        ({"times": np.zeros(4)}, "do not increase"),
        ({"rewards": None}, "having rewards"),
    ],
)
def test_columns_that_do_not_fit_leave_the_episode_out(make_episode, memory_reader, build, change, reason):
    good, bad = make_episode(4, 0), make_episode(4, 1)
    bad = dataclasses.replace(bad, columns=dataclasses.replace(bad.columns, **change))
    store, report = build(memory_reader([good, bad]))
    assert store.num_episodes == 1 and reason in report.skipped[0].reason


def test_nothing_usable_is_an_error_and_leaves_nothing(tmp_path, make_episode, memory_reader):
    with pytest.raises(DataError, match="None of the 2 episodes"):
        quiet(memory_reader([make_episode(1, 0), make_episode(5, 1)], broken=(1,)), tmp_path / "s")
    assert not any(tmp_path.iterdir())


def test_the_bytes_are_announced_before_anything_is_written(tmp_path, make_episode, memory_reader):
    said = []

    def announce(text):
        said.append(text)
        assert not any(tmp_path.iterdir())

    build_store(memory_reader([make_episode(1000, 0)]), tmp_path / "s", StoreConfig(), announce=announce)
    assert "1,000 frames of 64 x 64" in said[0] and "12.3 MB" in said[0]


def test_more_than_the_disk_holds_is_refused_before_writing(tmp_path, make_episode, memory_reader):
    reader = memory_reader([make_episode(3, 0)])
    reader.info = dataclasses.replace(reader.info, num_frames=10**15)
    with pytest.raises(OutputError, match="are free"):
        quiet(reader, tmp_path / "s")
    assert not any(tmp_path.iterdir())


def test_an_existing_folder_is_only_replaced_when_told(tmp_path, make_episode, memory_reader):
    reader = memory_reader([make_episode(3, 0)])
    quiet(reader, tmp_path / "s")
    with pytest.raises(OutputError, match="already holds"):
        quiet(reader, tmp_path / "s")
    other = memory_reader([make_episode(5, 1)])
    build_store(other, tmp_path / "s", announce=lambda _: None, overwrite=True)
    assert FrameStore.open(tmp_path / "s").num_frames == 5
    assert [file.name for file in tmp_path.iterdir()] == ["s"]


def test_progress_counts_frames(tmp_path, make_episode, memory_reader):
    steps = []
    reader = memory_reader([make_episode(3, 0), make_episode(4, 1)])
    build_store(reader, tmp_path / "s", progress=steps.append, announce=lambda _: None)
    assert sum(steps) == 7


def test_videos_of_different_sizes_are_brought_to_one(tmp_path, make_episode, write_video):
    write_video(tmp_path / "v/a.mp4", make_episode(5, 0, size=64).frames, 10)
    write_video(tmp_path / "v/b.mp4", make_episode(5, 1, size=32).frames, 20)
    quiet(VideoFolderReader(tmp_path / "v"), tmp_path / "s", frame_size=(16, 24))
    store = FrameStore.open(tmp_path / "s")
    assert store.frames(np.arange(10)).shape == (10, 16, 24, 3)
    report = quiet(VideoFolderReader(tmp_path / "v"), tmp_path / "kept", frame_size=None)
    assert report.num_episodes == 1 and "32 x 32" in report.skipped[0].reason


def test_shrinking_takes_the_mean_of_each_block():
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    blocks = frame.reshape(8, 4, 12, 4, 3).mean((1, 3))
    assert np.abs(resize(frame, (8, 12)) - blocks).max() <= 1
    assert resize(frame[..., :1], (64, 64)).shape == (64, 64, 1)


def test_shards_are_limited_to_two_gigabytes():
    with pytest.raises(ConfigError, match="shard_bytes"):
        StoreConfig.parse({"shard_bytes": 3_000_000_000})


def test_a_place_that_cannot_be_written_is_explained(tmp_path, make_episode, memory_reader):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        quiet(memory_reader([make_episode(3, 0)]), tmp_path / "file" / "below" / "s")


FULL_DISK = """
import resource, sys
from pathlib import Path
from flexlam.core.errors import OutputError
from flexlam.data.readers import open_dataset
from flexlam.data.store_builder import StoreConfig, build_store
source, folder, codec, limit = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
reader = open_dataset(source)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    build_store(reader, folder / "s", StoreConfig(codec=codec), announce=lambda _: None)
except OutputError as error:
    assert "no room left" in str(error), error
    sys.exit(17)
"""


@pytest.mark.parametrize(("codec", "limit"), [("raw", 300_000), ("raw", 100), ("webp", 10_000), ("webp", 600)])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, moving_square_dataset, codec, limit):
    source = moving_square_dataset((100,)).path
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        FULL_DISK,
        str(source),
        str(tmp_path / "out"),
        codec,
        str(limit),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 17, done.stderr
    assert not done.stderr and not any((tmp_path / "out").iterdir())

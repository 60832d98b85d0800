import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, OutputError
from flexlam.core.files import try_lock
from flexlam.data import store_builder, video
from flexlam.data.guarded import Limits
from flexlam.data.parts import StoreConfig, resize
from flexlam.data.readers import open_dataset
from flexlam.data.readers.video_folder import VideoFolderReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store, convert


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
        ({"times": np.arange(3) / 8.75, "actions": np.zeros((3, 1), np.float32), "extras": {}}, "more than 3 frames"),
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
from flexlam.data.parts import StoreConfig
from flexlam.data.store_builder import build_store
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


def from_files(path, out, num_workers=1, progress=lambda count: None, **settings):
    said = []
    config = StoreConfig.parse({"frame_size": (16, 16)} | settings)
    report = convert(open_dataset(path), out, config, Limits(seconds=20), num_workers, progress, said.append)
    return report, said


@pytest.fixture
def videos(tmp_path, make_episode, write_video):
    for number in range(6):
        write_video(tmp_path / f"v/{number}.mp4", make_episode(6 + number, number, size=32).frames, 10)
    return tmp_path / "v"


def contents(store):
    return {file.name: file.read_bytes() for file in store.iterdir()}


def test_the_store_is_the_same_whoever_builds_it(tmp_path, videos):
    from_files(videos, tmp_path / "one", shard_bytes=9_000)
    from_files(videos, tmp_path / "three", num_workers=3, shard_bytes=9_000)
    config = StoreConfig(frame_size=(16, 16), shard_bytes=9_000)
    build_store(open_dataset(videos), tmp_path / "here", config, announce=lambda _: None)
    assert contents(tmp_path / "one") == contents(tmp_path / "three") == contents(tmp_path / "here")
    assert len([name for name in contents(tmp_path / "one") if name.endswith(".bin")]) > 2
    FrameStore.open(tmp_path / "one").verify()
    assert sorted(place.name for place in tmp_path.iterdir()) == ["here", "one", "three", "v"]


@pytest.mark.parametrize("codec", ["raw", "webp"])
def test_a_killed_conversion_goes_on_and_comes_to_the_same(tmp_path, videos, codec):
    from_files(videos, tmp_path / "whole", codec=codec, shard_bytes=9_000)
    settings = f"StoreConfig(frame_size=(16, 16), codec={codec!r}, shard_bytes=9_000)"
    script = f"""
import os, signal, sys
from pathlib import Path
from flexlam.data import store_builder
from flexlam.data.guarded import Limits
from flexlam.data.parts import StoreConfig
from flexlam.data.readers import open_dataset
builder, stop = store_builder._Builder, int(sys.argv[1])
append = builder._append
def before(self, episode, outcome):
    if episode.index == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, episode, outcome)
def between(self, episode, outcome):  # the shard is written, the journal is not
    flush = self._shards.flush
    if episode.index == stop:
        self._shards.flush = lambda: (flush(), os.kill(os.getpid(), signal.SIGKILL))
    append(self, episode, outcome)
builder._append = between if stop % 2 else before
reader = open_dataset(Path(sys.argv[2]))
store_builder.convert(
    reader, Path(sys.argv[3]), {settings}, Limits(), 2, lambda count: None, print
)
"""
    for stop in (1, 2, 4, 5):
        command = [sys.executable, "-c", script, str(stop), str(videos), str(tmp_path / "s")]
        assert subprocess.run(command, capture_output=True, timeout=120).returncode == -signal.SIGKILL
        assert not (tmp_path / "s").exists()
    counts: list[int] = []
    _, said = from_files(videos, tmp_path / "s", codec=codec, shard_bytes=9_000, progress=counts.append)
    assert said[-1] == "Going on after 5 of 6 episodes."
    assert sum(counts) == open_dataset(videos).info.num_frames, "what was done before counts, too"
    assert contents(tmp_path / "s") == contents(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def test_other_settings_begin_anew(tmp_path, videos, monkeypatch):
    def fail(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store_builder._Builder, "finish", fail)
        from_files(videos, tmp_path / "s")
    assert (tmp_path / ".s.building").is_dir() and not (tmp_path / "s").exists()
    _, said = from_files(videos, tmp_path / "s", fit="crop")
    assert len(said) == 2 and "other data or settings" in said[1] and not (tmp_path / ".s.building").exists()


def test_two_conversions_to_one_place_are_refused(tmp_path, videos):
    (tmp_path / ".s.building").mkdir()
    with try_lock(tmp_path / ".s.building/lock") as mine, pytest.raises(OutputError, match="Another process"):
        assert mine
        from_files(videos, tmp_path / "s")


def test_damaged_and_hostile_files_are_left_out_with_a_reason(tmp_path, videos, make_episode, monkeypatch):
    good = (videos / "0.mp4").read_bytes()
    clean, _ = from_files(videos, tmp_path / "clean")
    damaged = {
        "a-truncated.mp4": good[: len(good) // 2],
        "b-empty.mp4": b"",
        "c-text.mp4": b"no video at all\n" * 50,
        "d-renamed.webm": (videos / "1.mp4").read_bytes()[::-1],
        "e-crash.mp4": good,
    }
    for name, data in damaged.items():
        (videos / name).write_bytes(data)
    decode = video.decode

    def crash(file, *arguments, **options):
        if getattr(file, "name", "") == "e-crash.mp4":
            os.abort()
        return decode(file, *arguments, **options)

    monkeypatch.setattr(video, "decode", crash)
    report, _ = from_files(videos, tmp_path / "s", num_workers=2)
    assert {skipped.name for skipped in report.skipped} == set(damaged)
    assert all(skipped.reason for skipped in report.skipped)
    assert any("crashed" in skipped.reason for skipped in report.skipped)
    assert report.content_hash == clean.content_hash


def test_nothing_usable_leaves_nothing_behind(tmp_path, make_episode, write_video):
    write_video(tmp_path / "v/a.mp4", make_episode(6, 0, size=32).frames, 10)
    (tmp_path / "v/a.mp4").write_bytes((tmp_path / "v/a.mp4").read_bytes()[:-200])
    with pytest.raises(DataError, match=r"None of the 1 (episodes|videos)"):
        from_files(tmp_path / "v", tmp_path / "s")
    assert [place.name for place in tmp_path.iterdir()] == ["v"]


def test_frames_some_seconds_apart_are_kept(tmp_path, make_episode, memory_reader, build):
    episode = make_episode(30, 0)
    store, _ = build(memory_reader([episode]), frame_gap=3 / 8.75)
    kept = np.arange(0, 30, 3)
    assert np.array_equal(store.frames(np.arange(len(kept))), episode.frames[kept])
    assert np.array_equal(store.actions, episode.columns.actions[kept])
    assert np.allclose(store.times, episode.columns.times[kept]) and store.fps == pytest.approx(8.75 / 3)
    assert np.allclose(store.rewards, episode.columns.rewards.reshape(-1, 3).sum(1), atol=1e-6)
    _, report = build(memory_reader([episode, make_episode(4, 1)]), "b", frame_gap=3.0)
    assert report.num_episodes == 1 and "keeps 1 frame(s)" in report.skipped[0].reason


def test_another_aspect_ratio_is_stretched_cropped_or_padded():
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:, :20], frame[:, 20:60], frame[:, 60:] = 10, 200, 90
    assert np.unique(resize(frame, (20, 20))).tolist() == [10, 90, 200]
    assert np.unique(resize(frame, (20, 20), "crop")).tolist() == [200]
    padded = resize(frame, (20, 20), "pad")
    assert not padded[:5].any() and not padded[15:].any()
    assert np.array_equal(padded[5:15], resize(frame, (10, 20)))
    tall = frame.transpose(1, 0, 2)
    assert np.array_equal(resize(tall, (20, 20), "pad"), padded.transpose(1, 0, 2))
    assert np.array_equal(resize(tall, (20, 20), "crop"), resize(frame, (20, 20), "crop").transpose(1, 0, 2))

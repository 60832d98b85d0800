import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, OutputError, SuiteError
from flexlam.data import lerobot_format as layout
from flexlam.data.episodes import Columns
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.readers.lerobot import LeRobotReader

DISCRETE = ActionSpec(num_choices=(5,))
FPS = 8.75


def new_writer(path, spec=DISCRETE, codec="png"):
    return LeRobotWriter(path, FPS, (16, 16, 3), spec, codec=codec)


def write(writer, *episodes):
    for episode in episodes:
        writer.write_episode(episode.task, episode.frames, episode.columns)


def test_every_file_of_the_format_is_there_and_agrees(tmp_path, moving_square_dataset):
    path = moving_square_dataset((7, 2, 5)).path
    info = json.loads((path / "meta/info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 3, 14)
    assert info["fps"] == FPS and info["video_path"] is None
    data = pq.read_table(path / "data/chunk-000/file-000.parquet")
    assert set(data.column_names) == set(info["features"])
    assert data["index"].to_pylist() == list(range(14))
    assert data["frame_index"].to_pylist() == [*range(7), *range(2), *range(5)]
    episodes = pq.read_table(path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [(0, 7), (7, 9), (9, 14)]
    stats = json.loads((path / "meta/stats.json").read_text())
    assert stats["action"]["max"] == [4.0] and np.shape(stats[layout.CAMERA]["mean"]) == (3, 1, 1)
    ours = json.loads((path / layout.OUR_METADATA).read_text())
    assert ours["fps"] == FPS and ours["action_spec"]["num_choices"] == [5]


def test_a_dataset_without_actions_holds_no_trace_of_them(tmp_path, moving_square_dataset):
    path = moving_square_dataset(spec=None).path
    info = json.loads((path / "meta/info.json").read_text())
    data = pq.read_table(path / "data/chunk-000/file-000.parquet")
    assert not [name for name in [*info["features"], *data.column_names] if "action" in name]


def test_data_files_are_chunked_by_size(tmp_path, make_episode, monkeypatch):
    monkeypatch.setattr(layout, "DATA_FILE_MEGABYTES", 0.004)
    episodes = [make_episode(6, i) for i in range(4)]
    with new_writer(tmp_path / "d") as writer:
        write(writer, *episodes)
    assert len(list((tmp_path / "d/data").rglob("*.parquet"))) > 1
    reader = LeRobotReader(tmp_path / "d")
    for info, episode in zip(reader.episodes(), episodes, strict=True):
        assert np.array_equal(np.stack(list(reader.frames(info))), episode.frames)
        assert np.array_equal(reader.columns(info).actions, episode.columns.actions)


def test_video_files_are_chunked_by_size(tmp_path, make_episode, monkeypatch):
    monkeypatch.setattr(layout, "VIDEO_FILE_MEGABYTES", 0)
    episodes = [make_episode(6, i) for i in range(3)]
    with new_writer(tmp_path / "d", codec="mp4-lossless") as writer:
        write(writer, *episodes)
    assert len(list((tmp_path / "d/videos").rglob("*.mp4"))) == 3
    reader = LeRobotReader(tmp_path / "d")
    for info, episode in zip(reader.episodes(), episodes, strict=True):
        assert np.array_equal(np.stack(list(reader.frames(info))), episode.frames)


@pytest.mark.parametrize("error", [SuiteError("the game crashed"), KeyboardInterrupt()])
@pytest.mark.parametrize("codec", ["png", "mp4-lossless"])
def test_a_crashed_game_and_ctrl_c_keep_the_complete_episodes(tmp_path, make_episode, error, codec):
    with pytest.raises(type(error)), new_writer(tmp_path / "d", codec=codec) as writer:
        write(writer, make_episode(5, 0), make_episode(4, 1))
        raise error
    assert [episode.length for episode in LeRobotReader(tmp_path / "d").episodes()] == [5, 4]
    assert [file.name for file in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("error", [DataError("no"), ZeroDivisionError(), OutputError("full")])
def test_any_other_error_leaves_nothing(tmp_path, make_episode, error):
    with pytest.raises(type(error)), new_writer(tmp_path / "d") as writer:
        write(writer, make_episode(5, 0))
        raise error
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("error", [SuiteError("the game crashed"), KeyboardInterrupt()])
def test_nothing_recorded_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)), new_writer(tmp_path / "d"):
        raise error
    with pytest.raises(DataError, match="Nothing was recorded"), new_writer(tmp_path / "d"):
        pass
    assert not any(tmp_path.iterdir())


def test_an_interrupt_while_an_episode_is_committed_waits_until_it_is_whole(tmp_path, make_episode, monkeypatch):
    original = LeRobotWriter._write_table

    def interrupted(self, table):
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, table)

    monkeypatch.setattr(LeRobotWriter, "_write_table", interrupted)
    with pytest.raises(KeyboardInterrupt), new_writer(tmp_path / "d") as writer:
        write(writer, make_episode(5, 0))
    reader = LeRobotReader(tmp_path / "d")
    assert [episode.length for episode in reader.episodes()] == [5]
    assert pq.read_metadata(tmp_path / "d/data/chunk-000/file-000.parquet").num_rows == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_frames_that_do_not_fit_are_refused(tmp_path, make_episode):
    episode = make_episode(4, 0)
    bad = {
        "uint8": episode.frames.astype(np.float32),
        "expected": episode.frames[:, :8],
        "rows": episode.frames[:3],
    }
    for frames in bad.values():
        with pytest.raises(DataError), new_writer(tmp_path / "d") as writer:
            writer.write_episode("a", frames, episode.columns)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": np.full((4, 1), 9, np.float32)}, "holds 9"),
        ({"actions": np.full((4, 1), np.nan, np.float32)}, "NaN"),
        ({"actions": np.zeros((4, 2), np.float32)}, "2 dimensions"),
        ({"actions": np.zeros((3, 1), np.float32)}, "3 rows"),
        ({"actions": None}, "go together"),
        ({"times": np.arange(4) / 10}, "times must be"),
        ({"rewards": np.zeros(5, np.float32)}, "5 rows"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, make_episode, change, message):
    episode = make_episode(4, 0)
    columns = Columns(**{"times": episode.columns.times, "actions": episode.columns.actions} | change)
    with pytest.raises(DataError, match=message), new_writer(tmp_path / "d") as writer:
        writer.write_episode("a", episode.frames, columns)
    assert not any(tmp_path.iterdir())


def test_every_episode_needs_the_same_columns(tmp_path, make_episode):
    first, second = make_episode(4, 0), make_episode(4, 1)
    bare = Columns(times=second.columns.times, actions=second.columns.actions)
    with pytest.raises(DataError, match="same columns"), new_writer(tmp_path / "d") as writer:
        write(writer, first)
        writer.write_episode("a", second.frames, bare)


def test_unknown_codecs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="gif"):
        new_writer(tmp_path / "d", codec="gif")


def test_a_place_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), new_writer(tmp_path / "file" / "below" / "d"):
        pass


FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from flexlam.core.errors import OutputError
from flexlam.data.episodes import Columns
from flexlam.data.lerobot_writer import LeRobotWriter
folder, codec, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
frames = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
try:
    with LeRobotWriter(folder / "d", 10, (32, 32, 3), None, codec=codec) as writer:
        for _ in range(20):
            writer.write_episode("a", frames, Columns(times=np.arange(20) / 10))
except OutputError as error:
    assert "no room left" in str(error), error
    sys.exit(17)
"""


@pytest.mark.parametrize(("codec", "limit"), [("png", 200_000), ("png", 100), ("mp4-lossless", 200_000), ("mp4", 40)])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, codec, limit):
    command = [sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path), codec, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 17, done.stderr
    assert not done.stderr and not any(tmp_path.iterdir())

"""Row-parquet as Hugging Face's datasets write it: pictures as {bytes, path}, episodes that no row group knows of."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset
from flexlam.data.readers.row_parquet import RowParquetReader

LENGTHS = (7, 1, 12, 5)


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((8, 10, 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


def rows(lengths: tuple[int, ...], start: int = 0, closed: bool = True) -> dict[str, list[Any]]:
    """Steps of episodes; frame t of the stream is grey of value start + t, and its action t modulo 9."""
    ends = np.cumsum(lengths) - 1
    count = int(ends[-1]) + 1
    over = [t in ends and (closed or t != count - 1) for t in range(count)]
    return {
        "observation": [{"bytes": png(start + t), "path": None} for t in range(count)],
        "action": [t % 9 for t in range(count)],
        "reward": [float(t) for t in range(count)],
        "terminated": [flag and t % 2 == 0 for t, flag in enumerate(over)],
        "truncated": [flag and t % 2 == 1 for t, flag in enumerate(over)],
    }


def write(path: Path, columns: dict[str, list[Any]], row_group_size: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {"observation": picture, "action": pa.int32(), "reward": pa.float32()}
    arrays = {name: pa.array(values, kinds.get(name)) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path, row_group_size=row_group_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks; the first one's training rows are cut into two files in the middle of an episode."""
    whole = rows(LENGTHS)
    for number, part in enumerate((slice(0, 11), slice(11, None))):
        name = f"train-{number:05d}-of-00002.parquet"
        write(tmp_path / "maze" / name, {key: values[part] for key, values in whole.items()})
    write(tmp_path / "maze" / "test-00000-of-00001.parquet", rows((3,), start=100, closed=False))
    write(tmp_path / "tag" / "train-00000-of-00001.parquet", rows((4, 4), start=200))
    return tmp_path


def test_episodes_end_at_flags_not_at_files_or_row_groups(folder: Path) -> None:
    reader = open_dataset(folder)
    assert isinstance(reader, RowParquetReader)
    info = reader.info
    assert (info.format, info.frame_shape, info.tasks) == ("row-parquet", (8, 10, 3), ("maze", "tag"))
    assert info.action_spec is not None and info.action_spec.num_choices == (9,)
    found = [(episode.task, episode.length) for episode in reader.episodes()]
    # The test split has no flag at its end: its one episode was cut off.
    assert found == [("maze", 3), *(("maze", length) for length in LENGTHS), ("tag", 4), ("tag", 4)]
    assert info.num_frames == sum(LENGTHS) + 3 + 8


def test_frames_actions_and_rewards_belong_together(folder: Path) -> None:
    reader = open_dataset(folder)
    firsts = [100, 0, 7, 8, 20, 200, 204]
    for episode, first in zip(reader.episodes(), firsts, strict=True):
        frames = np.stack(list(reader.frames(episode)))
        assert episode.length is not None
        wanted = first + np.arange(episode.length)
        assert np.array_equal(frames[:, 0, 0, 0], wanted) and frames.shape[1:] == (8, 10, 3)
        columns = reader.columns(episode)
        steps = wanted % 100
        assert columns.actions is not None and columns.rewards is not None
        assert np.array_equal(columns.actions[:, 0], steps % 9)
        assert np.array_equal(columns.rewards, steps)
        assert np.array_equal(columns.times, np.arange(episode.length))


def test_one_row_group_at_a_time_is_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, read = open_dataset(folder), []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda file, group, **named: (read.append(group), original(file, group, **named))[1],
    )
    frames = reader.frames(reader.episodes()[3])
    next(frames)
    assert len(read) == 1
    assert len(list(frames)) == LENGTHS[2] - 1 and len(read) > 2


def test_vectors_are_continuous_and_data_without_actions_have_none(tmp_path: Path) -> None:
    columns = rows((5, 5))
    write(tmp_path / "none" / "train-0.parquet", {name: v for name, v in columns.items() if name != "action"})
    reader = open_dataset(tmp_path / "none")
    assert reader.info.action_spec is None and reader.columns(reader.episodes()[0]).actions is None
    path = tmp_path / "vectors" / "train-0.parquet"
    path.parent.mkdir()
    vectors = [[0.5 * t, -1.0] for t in range(10)]
    table = pa.table({name: columns[name] for name in ("terminated", "truncated")} | {"action": vectors})
    pictures = pa.array([cell["bytes"] for cell in columns["observation"]], pa.binary())
    pq.write_table(table.append_column("pixels", pictures), path)
    reader = open_dataset(path.parent)
    assert reader.info.action_spec is not None and reader.info.action_spec.num_continuous == 2
    actions = reader.columns(reader.episodes()[1]).actions
    assert actions is not None and actions[0].tolist() == [2.5, -1.0]
    assert len(list(reader.frames(reader.episodes()[1]))) == 5


def test_without_statistics_the_actions_are_read(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", rows((6,)))
    table = pq.read_table(tmp_path / "train-0.parquet")
    pq.write_table(table, tmp_path / "train-0.parquet", write_statistics=False)
    spec = open_dataset(tmp_path).info.action_spec
    assert spec is not None and spec.num_choices == (6,)


def test_what_is_damaged_is_told(folder: Path) -> None:
    (folder / "tag" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"tag/train-00000-of-00001\.parquet cannot be read .*download or recreate it"):
        open_dataset(folder)


def test_a_damaged_picture_names_its_episode_and_frame(tmp_path: Path) -> None:
    columns = rows((4, 4))
    columns["observation"][5] = {"bytes": b"no picture", "path": None}
    columns["observation"][6] = {"bytes": None, "path": "lost.png"}
    write(tmp_path / "train-0.parquet", columns)
    reader = open_dataset(tmp_path)
    assert len(list(reader.frames(reader.episodes()[0]))) == 4
    with pytest.raises(DataError, match="rows from 4, frame 1: the picture cannot be decoded"):
        list(reader.frames(reader.episodes()[1]))


def test_files_that_differ_in_their_columns_are_refused(folder: Path) -> None:
    extra = rows((3,))
    del extra["reward"]
    write(folder / "maze" / "train-00002-of-00002.parquet", extra)
    reader = open_dataset(folder)
    with pytest.raises(DataError, match="lacks the columns reward"):
        list(reader.frames(reader.episodes()[-3]))

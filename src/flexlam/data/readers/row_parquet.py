"""Hugging Face row-parquet of reinforcement-learning recordings, as in EpicPinkPenguin/dm_lab: one row a step.

Columns: a picture, `action`, `reward`, and the flags `terminated` and `truncated`, which close an episode. Episodes run
over row groups and files; the name of a file's folder is its task, and the word before the first dash of its own name
(train-00000-of-00091.parquet) its split, over which no episode runs. There is no clock: a step counts as a second.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, relative
from flexlam.data.parquet import explained, open_parquet, vectors
from flexlam.data.pictures import decode_picture

_FLAGS = ("terminated", "truncated")


@dataclass(frozen=True)
class _Episode:
    stream: "_Stream"
    first: int
    length: int


class RowParquetReader:
    """Stream the episodes of a folder of row-parquet files; `camera` is a column, the first picture by default.

    Raises:
        DataError: no such files, damaged ones, or columns that are missing or differ between files.
    """

    info: DatasetInfo

    def __init__(self, path: Location, camera: str | None = None) -> None:
        self.path = path
        files = _files(self.path)
        if not files:
            raise DataError(f"{self.path} holds no parquet file. Give the folder that a dataset was downloaded to.")
        self.camera, cameras = _choose_camera(self.path, files[0], camera)
        groups: dict[tuple[str, str], list[Location]] = {}
        for file in files:
            groups.setdefault((self._task(file), file.name.partition("-")[0]), []).append(file)
        self._streams = [_Stream(task, split, members) for (task, split), members in groups.items()]
        self._episodes = [episode for stream in self._streams for episode in stream.episodes()]
        if not self._episodes:
            raise DataError(f"{self.path} holds no rows; it is empty or was not downloaded whole.")
        self.info = DatasetInfo(
            format="row-parquet",
            num_episodes=len(self._episodes),
            num_frames=sum(episode.length for episode in self._episodes),
            frame_shape=self._frame_shape(),
            fps=1.0,
            action_spec=_action_spec(self._streams),
            tasks=tuple(dict.fromkeys(stream.task for stream in self._streams)),
            cameras=cameras,
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        first = next(iter(_files(path)), None) if path.is_dir() else None
        if first is None:
            return False
        try:
            names = open_parquet(first).schema_arrow.names
        except (pa.ArrowException, OSError):
            return False
        return set(_FLAGS) <= set(names)

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(
                number, f"{episode.stream.name}, rows from {episode.first}", episode.stream.task, episode.length
            )
            for number, episode in enumerate(self._episodes)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed; at most one row group is in memory.

        Raises:
            DataError: a picture is missing or damaged.
        """
        found, step = self._episodes[episode.index], 0
        for table in found.stream.tables(found.first, found.length, (self.camera,)):
            for cell in table[self.camera]:
                where = f"{self.path}, {episode.name}, frame {step}"
                value = cell.as_py()
                data = value.get("bytes") if isinstance(value, dict) else value
                if not data:
                    raise DataError(f"{where}: the picture is missing. Download the dataset again.")
                yield decode_picture(data, self.info.frame_shape[2], where)
                step += 1

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the rows are damaged.
        """
        found = self._episodes[episode.index]
        names = [name for name in ("action", "reward") if name in found.stream.names]
        table = pa.concat_tables(found.stream.tables(found.first, found.length, tuple(names)))
        return Columns(
            times=np.arange(found.length, dtype=np.float64),
            actions=vectors(table["action"]).astype(np.float32) if "action" in names else None,
            rewards=vectors(table["reward"])[:, 0].astype(np.float32) if "reward" in names else None,
        )

    def _task(self, file: Location) -> str:
        folder = file.parent
        return relative(folder, self.path) or self.path.absolute().name

    def _frame_shape(self) -> tuple[int, int, int]:
        first = self._episodes[0]
        table = next(first.stream.tables(first.first, 1, (self.camera,)))
        value = table[self.camera][0].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        height, width, channels = decode_picture(data or b"", 3, f"{self.path}, the first frame").shape
        return height, width, channels


class _Stream:
    """The files of one task and split, read as one table."""

    def __init__(self, task: str, split: str, files: list[Location]) -> None:
        self.task, self.name, self.files = task, f"{task}, {split}", files
        self._open: tuple[int, pq.ParquetFile] | None = None

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns."""
        with explained(self.files[0]):
            return list(open_parquet(self.files[0]).schema_arrow.names)

    @cached_property
    def _groups(self) -> tuple[list[tuple[int, int]], list[int]]:
        """(file, row group) of every row group, and the number of its first row."""
        places, starts, row = [], [], 0
        for number, file in enumerate(self.files):
            metadata = self._parquet(number).metadata
            for group in range(metadata.num_row_groups):
                places.append((number, group))
                starts.append(row)
                row += metadata.row_group(group).num_rows
            if missing := set(self.names) - set(self._parquet(number).schema_arrow.names):
                raise DataError(f"{file} lacks the columns {', '.join(sorted(missing))} of {self.files[0]}.")
        return places, starts

    def episodes(self) -> Iterator[_Episode]:
        """Runs of rows, each up to a flag; the last one may be cut off by the end of the recording."""
        first = row = 0
        for number in range(len(self.files)):
            with explained(self.files[number]):
                table = self._parquet(number).read(columns=list(_FLAGS))
            over = np.logical_or(*(table[name].to_numpy().astype(bool) for name in _FLAGS))
            for end in row + np.flatnonzero(over) + 1:
                yield _Episode(self, first, int(end) - first)
                first = int(end)
            row += len(over)
        if row > first:
            yield _Episode(self, first, row - first)

    def tables(self, first: int, length: int, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        """Rows of some columns, one row group at a time."""
        places, starts = self._groups
        at, end = bisect_right(starts, first) - 1, first + length
        while at < len(starts) and starts[at] < end:
            file, group = places[at]
            with explained(self.files[file]):
                table = self._parquet(file).read_row_group(group, columns=list(columns))
            skip = max(0, first - starts[at])
            yield table.slice(skip, min(end - starts[at], len(table)) - skip)
            at += 1

    def highest_action(self) -> np.ndarray:
        """The highest index of each dimension, from the files' statistics where these tell."""
        column = self._parquet(0).schema_arrow.get_field_index("action")
        highest = np.zeros(1)
        for number, file in enumerate(self.files):
            metadata = self._parquet(number).metadata
            found = [metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups)]
            if all(statistics is not None and statistics.has_min_max for statistics in found):
                values = np.array([[float(statistics.max)] for statistics in found] or [[0.0]])
            else:
                with explained(file):
                    values = vectors(self._parquet(number).read(columns=["action"])["action"])
            highest = np.maximum(highest, values.max(0))
        return highest

    def _parquet(self, number: int) -> pq.ParquetFile:
        """The file, of which one at a time is open."""
        if self._open is None or self._open[0] != number:
            with explained(self.files[number]):
                self._open = (number, open_parquet(self.files[number]))
        return self._open[1]


def _files(path: Location) -> list[Location]:
    return sorted(files_below(path, ".parquet")) if path.is_dir() else []


def _choose_camera(path: Location, file: Location, camera: str | None) -> tuple[str, tuple[str, ...]]:
    """The column of pictures to read, and all of them."""
    with explained(file):
        schema = open_parquet(file).schema_arrow
    cameras = tuple(str(field.name) for field in schema if _holds_pictures(field.type))
    if not cameras:
        raise DataError(f"{file} has no column of pictures, only {', '.join(schema.names)}.")
    if camera is not None and camera not in cameras:
        raise ConfigError(f"{path} has no camera {camera!r}. Its cameras: {', '.join(cameras)}.")
    return camera or cameras[0], cameras


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return "bytes" in {member.name for member in kind}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _action_spec(streams: list[_Stream]) -> ActionSpec | None:
    """Choices where actions are whole numbers, else continuous dimensions."""
    first = streams[0]
    if any("action" not in stream.names for stream in streams):
        return None
    sample = next(first.tables(0, 1, ("action",)))["action"]
    if np.issubdtype(vectors(sample).dtype, np.floating):
        return ActionSpec(num_continuous=vectors(sample).shape[1])
    highest = np.max([stream.highest_action() for stream in streams], axis=0)
    return ActionSpec(num_choices=tuple(max(2, int(index) + 1) for index in highest))

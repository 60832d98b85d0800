"""LeRobot v3.0 and v2.1 datasets, as written by us or by LeRobot: pictures inside parquet, or mp4 beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.data import lerobot_format as layout
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location
from flexlam.data.parquet import explained, open_parquet, vectors
from flexlam.data.pictures import decode_picture

# Timestamps are stored in single precision; closer than this to an even grid they are the grid.
TIME_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _DataFile:
    path: Location
    parquet: pq.ParquetFile
    bounds: np.ndarray
    """First row of each row group, and the end."""

    @classmethod
    def open(cls, path: Location) -> "_DataFile":
        parquet = open_parquet(path)
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.metadata.num_row_groups)]
        return cls(path, parquet, np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]))


class LeRobotReader:
    """Stream the episodes of a LeRobot v3.0 or v2.1 folder; `camera` is a feature name, the first picture by default.

    Raises:
        DataError: the folder is no such dataset, or is damaged.
        ConfigError: there is no such camera.
    """

    info: DatasetInfo

    def __init__(self, path: Location, camera: str | None = None) -> None:
        self.path = path
        meta = self._read_info()
        self._features: dict[str, dict[str, Any]] = meta["features"]
        self._is_v2 = str(meta["codebase_version"]).startswith("v2.")
        self._chunk_size = int(meta.get("chunks_size") or layout.FILES_PER_CHUNK)
        paths = (layout.V2_DATA_PATH, layout.V2_VIDEO_PATH) if self._is_v2 else (layout.DATA_PATH, layout.VIDEO_PATH)
        self._data_path, self._video_path = meta.get("data_path") or paths[0], meta.get("video_path") or paths[1]
        self.camera = self._choose_camera(camera)
        self._records = self._read_episodes_v2() if self._is_v2 else self._read_episodes()
        self._file_starts = self._first_rows()
        ours = self._read_ours()
        tasks = tuple(dict.fromkeys(self._task(record) for record in self._records))
        self._open: _DataFile | None = None
        self._group: tuple[Location, int, pa.ChunkedArray] | None = None
        self._fps = float(ours.get("fps") or meta["fps"])
        self._extra_shapes: dict[str, list[int]] = ours.get("extras", {})
        self.info = DatasetInfo(
            format="lerobot",
            num_episodes=len(self._records),
            num_frames=sum(record["length"] for record in self._records),
            frame_shape=self._frame_shape(),
            fps=self._fps,
            action_spec=self._action_spec(ours),
            tasks=tasks,
            cameras=self._cameras(),
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        return (path / "meta" / "info.json").is_file()

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(i, f"episode {record['episode_index']}", self._task(record), record["length"])
            for i, record in enumerate(self._records)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: the episode cannot be decoded.
        """
        record = self._records[episode.index]
        if self._features[self.camera]["dtype"] == "video":
            from flexlam.data import video  # PyAV is large, and pictures do without

            start = 0.0 if self._is_v2 else float(record[f"videos/{self.camera}/from_timestamp"])
            yield from video.decode(self._video_file(record), start, record["length"])
            return
        for step, cell in enumerate(self._pictures(record)):
            yield self._picture(cell, f"{self.path}, {episode.name}, frame {step}")

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the rows are missing or damaged.
        """
        record = self._records[episode.index]
        extras = [name for name in self._features if name.startswith(layout.EXTRAS)]
        reward = next((name for name in (layout.REWARD, "reward") if name in self._features), None)
        action = ["action"] if self.info.action_spec else []
        wanted = ["timestamp", "episode_index", *action, *extras, *([reward] if reward else [])]
        table = self._rows(record, wanted)
        if (table["episode_index"].to_numpy() != record["episode_index"]).any():
            raise DataError(f"{self.path}, {episode.name}: its rows belong to another episode. Recreate the dataset.")
        values = {name: vectors(table[name]) for name in wanted}
        shapes = {name: self._extra_shapes.get(name.removeprefix(layout.EXTRAS)) for name in extras}
        return Columns(
            times=self._times(values["timestamp"][:, 0]),
            actions=values["action"].astype(np.float32) if action else None,
            rewards=values[reward][:, 0].astype(np.float32) if reward else None,
            extras={
                name.removeprefix(layout.EXTRAS): values[name].reshape(-1, *(shape or values[name].shape[1:]))
                for name, shape in shapes.items()
            },
        )

    def _times(self, stamps: np.ndarray) -> np.ndarray:
        stamps = stamps.astype(np.float64)
        even = np.arange(len(stamps)) / self._fps
        return even if np.abs(stamps - even).max(initial=0) < TIME_TOLERANCE else stamps

    # ---- rows of the data files

    def _pictures(self, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Cells of the camera's column, at most one row group in memory."""
        path, first, last = self._place(record)
        for group, start, stop in self._groups(path, first, last):
            if self._group is None or self._group[:2] != (path, group):
                with explained(path):
                    column = self._opened(path).parquet.read_row_group(group, columns=[self.camera])[self.camera]
                self._group = (path, group, column)
            for cell in self._group[2].slice(start, stop - start):
                yield cell.as_py()

    def _rows(self, record: dict[str, Any], columns: list[str]) -> pa.Table:
        path, first, last = self._place(record)
        with explained(path):
            pieces = [
                self._opened(path).parquet.read_row_group(group, columns=columns).slice(start, stop - start)
                for group, start, stop in self._groups(path, first, last)
            ]
            table = pa.concat_tables(pieces)
        if len(table) != record["length"]:
            raise DataError(f"{path} holds {len(table)} of the {record['length']} rows that its episode should have.")
        return table

    def _groups(self, path: Location, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """(row group, first row, end row) that together are the rows first..last of a file."""
        bounds = self._opened(path).bounds
        for group in range(int(np.searchsorted(bounds, first, "right")) - 1, len(bounds) - 1):
            start, end = int(bounds[group]), int(bounds[group + 1])
            if start >= last:
                return
            yield group, max(first - start, 0), min(last, end) - start

    def _place(self, record: dict[str, Any]) -> tuple[Location, int, int]:
        if self._is_v2:
            return self.path / self._data_path.format(**self._v2_place(record)), 0, record["length"]
        key = (record["data/chunk_index"], record["data/file_index"])
        path = self.path / self._data_path.format(chunk_index=key[0], file_index=key[1])
        start = self._file_starts[key]
        return path, record["dataset_from_index"] - start, record["dataset_to_index"] - start

    def _opened(self, path: Location) -> "_DataFile":
        if self._open is None or self._open.path != path:
            with explained(path):
                self._open = _DataFile.open(path)
        return self._open

    def _v2_place(self, record: dict[str, Any]) -> dict[str, int]:
        """In version 2 every episode has files of its own."""
        number = record["episode_index"]
        return {"episode_chunk": number // self._chunk_size, "episode_index": number}

    def _first_rows(self) -> dict[tuple[int, int], int]:
        starts: dict[tuple[int, int], int] = {}
        for record in self._records if not self._is_v2 else ():
            key = (record["data/chunk_index"], record["data/file_index"])
            starts[key] = min(record["dataset_from_index"], starts.get(key, record["dataset_from_index"]))
        return starts

    # ---- pictures

    def _picture(self, cell: dict[str, Any] | None, where: str) -> np.ndarray:
        try:
            data = (cell or {}).get("bytes") or (self.path / (cell or {})["path"]).read_bytes()
        except (OSError, KeyError, TypeError) as error:
            raise DataError(f"{where}: the picture is missing ({error}). Recreate the dataset.") from error
        return decode_picture(data, self.info.frame_shape[2], where)

    def _video_file(self, record: dict[str, Any]) -> Location:
        if self._is_v2:
            return self.path / self._video_path.format(video_key=self.camera, **self._v2_place(record))
        places = {key: record[f"videos/{self.camera}/{key}"] for key in ("chunk_index", "file_index")}
        return self.path / self._video_path.format(video_key=self.camera, **places)

    def _frame_shape(self) -> tuple[int, int, int]:
        feature = self._features[self.camera]
        shape = [int(n) for n in feature["shape"]]
        names = feature.get("names") or []
        first = str(names[0]) if isinstance(names, list) and names else ""
        channels_first = first.startswith("channel") or (not names and shape[0] in (1, 3) and shape[2] not in (1, 3))
        height, width, channels = (shape[1], shape[2], shape[0]) if channels_first else shape
        # Pictures with an alpha channel are read as RGB.
        return height, width, 1 if channels == 1 and feature["dtype"] == "image" else 3

    # ---- metadata

    def _read_info(self) -> dict[str, Any]:
        path = self.path / "meta" / "info.json"
        meta = self._json(path)
        version = str(meta.get("codebase_version", "unknown"))
        if not version.startswith(("v3.", "v2.")):
            raise DataError(
                f"{self.path} is a LeRobot dataset of version {version}; versions v3.0 and v2.1 are supported. "
                "Convert it with LeRobot's own converter to v3.0."
            )
        missing = [key for key in ("features", "fps") if not meta.get(key)]
        if missing:
            raise DataError(f"{path} does not name {' and '.join(missing)}; it is damaged. Recreate the dataset.")
        return meta

    def _read_ours(self) -> dict[str, Any]:
        path = self.path / layout.OUR_METADATA
        ours = self._json(path) if path.is_file() else {}
        if ours.get("format_version", 1) != 1:
            raise DataError(f"{path} has format version {ours['format_version']}; version 1 is supported.")
        return ours

    def _json(self, path: Location) -> dict[str, Any]:
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}). Recreate the dataset.") from error
        if not isinstance(values, dict):
            raise DataError(f"{path} holds no JSON object; it is damaged. Recreate the dataset.")
        return values

    def _read_episodes(self) -> list[dict[str, Any]]:
        files = sorted((self.path / "meta" / "episodes").glob("*/*.parquet"))
        records: list[dict[str, Any]] = []
        for file in files:
            with explained(file):
                parquet = open_parquet(file)
                # Statistics of each episode are most of the bytes and of no use here.
                columns = [name for name in parquet.schema_arrow.names if not name.startswith("stats/")]
                records += parquet.read(columns=columns).to_pylist()
        if not records:
            raise DataError(f"{self.path} lists no episode in meta/episodes; it is empty or was not finished.")
        if not {"length", "episode_index", "data/chunk_index", "dataset_from_index"} <= set(records[0]):
            raise DataError(f"{files[0]} lacks the columns of LeRobot v3.0; it is damaged. Recreate the dataset.")
        return sorted(records, key=lambda record: record["episode_index"])

    def _read_episodes_v2(self) -> list[dict[str, Any]]:
        path = self.path / "meta" / "episodes.jsonl"
        try:
            records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            damaged = any(not {"episode_index", "length"} <= set(record) for record in records)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}). Recreate the dataset.") from error
        if not records or damaged:
            raise DataError(f"{path} lists no episodes with their lengths; it is damaged. Recreate the dataset.")
        return sorted(records, key=lambda record: record["episode_index"])

    def _cameras(self) -> tuple[str, ...]:
        return tuple(name for name, feature in self._features.items() if feature.get("dtype") in ("image", "video"))

    def _choose_camera(self, camera: str | None) -> str:
        cameras = self._cameras()
        if not cameras:
            raise DataError(f"{self.path} has no picture feature, only {', '.join(self._features)}.")
        if camera is not None and camera not in cameras:
            raise ConfigError(f"{self.path} has no camera {camera!r}. Its cameras: {', '.join(cameras)}.")
        return camera or cameras[0]

    def _task(self, record: dict[str, Any]) -> str:
        tasks = record.get("tasks") or [""]
        return tasks if isinstance(tasks, str) else str(tasks[0])

    def _action_spec(self, ours: dict[str, Any]) -> ActionSpec | None:
        feature = self._features.get("action")
        if feature is None:
            return None
        if ours.get("action_spec"):
            return ActionSpec.parse(ours["action_spec"], where=str(self.path / layout.OUR_METADATA))
        if not str(feature["dtype"]).startswith(("int", "uint")):
            return ActionSpec(num_continuous=int(np.prod(feature["shape"])), names=_flat_names(feature.get("names")))
        highest = np.zeros(int(np.prod(feature["shape"])), np.int64)
        for record in self._records:
            highest = np.maximum(highest, vectors(self._rows(record, ["action"])["action"]).max(0))
        return ActionSpec(num_choices=tuple(max(2, int(n) + 1) for n in highest))


def _flat_names(names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    return tuple(str(name) for name in names) if isinstance(names, list) else ()

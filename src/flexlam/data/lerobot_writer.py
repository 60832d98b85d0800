"""Record episodes as a LeRobot v3.0 dataset, whole or not at all."""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, SuiteError, did_you_mean
from flexlam.core.files import atomic_folder, explain_write_errors, write_text
from flexlam.data import lerobot_format as layout
from flexlam.data.episodes import Columns
from flexlam.data.png import encode_png

if TYPE_CHECKING:
    from flexlam.data.video import VideoEncoder

MEGABYTE = 2**20
STATS_FRAMES_PER_EPISODE = 16
TIME_TOLERANCE = 1e-4  # seconds, LeRobot's own

CODECS = ("png", "mp4", "mp4-lossless")


class LeRobotWriter:
    """Context manager that writes episodes into a folder that appears when the block ends.

    A clean end, Ctrl-C and a crashed game keep every complete episode; any other error keeps nothing.
    Codecs: "png" (lossless, inside the parquet files), "mp4" (H.264 at `crf`), "mp4-lossless" (H.264 RGB).

    Raises:
        OutputError: the disk is full or the place cannot be written.
        DataError: an episode does not fit, or the block ends well without any episode.
    """

    def __init__(
        self,
        path: Path,
        fps: float,
        frame_shape: tuple[int, int, int],
        action_spec: ActionSpec | None,
        codec: str = "png",
        crf: int = 18,
    ) -> None:
        if codec not in CODECS:
            raise ConfigError(f"There is no codec {codec!r} for recording. {did_you_mean(codec, CODECS)}")
        if frame_shape[2] not in ((1, 3) if codec == "png" else (3,)):
            raise ConfigError(f"Codec {codec!r} cannot hold frames with {frame_shape[2]} channels.")
        self.path, self.fps, self.frame_shape, self.action_spec = (
            Path(path),
            float(fps),
            frame_shape,
            action_spec,
        )
        self.codec, self.num_frames, self.num_episodes = codec, 0, 0
        self._crf = crf if codec == "mp4" else None
        self._folder = atomic_folder(self.path)
        self._tasks: dict[str, int] = {}
        self._records: list[dict[str, Any]] = []
        self._widths: dict[str, int] | None = None
        self._extra_shapes: dict[str, list[int]] = {}
        self._stats: dict[str, layout.RunningStats] = {}
        self._data: pq.ParquetWriter | None = None
        self._data_files, self._data_bytes = 0, 0
        self._video: VideoEncoder | None = None
        self._video_files = 0
        self._video_features: dict[str, Any] = {}

    def __enter__(self) -> "LeRobotWriter":
        self._root = self._folder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keep = kind is None or issubclass(kind, SuiteError | KeyboardInterrupt)
        try:
            if keep and self.num_episodes:
                self.close()
            elif kind is None:
                raise DataError(f"Nothing was recorded for {self.path}: no episode was written.")
        except BaseException:
            self._abandon()
            self._folder.__exit__(*sys.exc_info())
            raise
        if keep and self.num_episodes:
            self._folder.__exit__(None, None, None)
        else:
            self._abandon()
            # contextlib hands the same error back; it goes on by itself when this method returns.
            with contextlib.suppress(BaseException):
                self._folder.__exit__(kind, error, trace)

    def write_episode(self, task: str, frames: np.ndarray, columns: Columns) -> None:
        """Append an episode of frames (T, H, W, C) uint8 with its T rows of columns.

        Raises:
            DataError: shapes or types do not fit, or the times are not evenly spaced by 1 / fps.
            OutputError: the disk is full.
        """
        vectors = self._checked(frames, columns)
        self._fix_widths(vectors)
        task_index = self._tasks.setdefault(task, len(self._tasks))
        with explain_write_errors(self.path):
            record: dict[str, Any] = {
                "episode_index": self.num_episodes,
                "tasks": [task],
                "length": len(frames),
            }
            if self.codec == "png":
                pixels = pa.array([{"bytes": encode_png(f), "path": None} for f in frames], _IMAGE)
            else:
                pixels, times = None, self._write_video(frames)
                record |= times
            table = self._table(columns, vectors, task_index, pixels)
            with _uninterrupted():
                record |= self._write_table(table)
                self._records.append(record)
                self.num_frames += len(frames)
                self.num_episodes += 1
                self._update_stats(frames, columns, vectors)

    def close(self) -> None:
        """Finish the files; called by the end of the `with` block."""
        with explain_write_errors(self.path):
            self._close_data()
            self._close_video()
            (self._root / "meta").mkdir(exist_ok=True)
            layout.write_tasks(self._root / "meta" / "tasks.parquet", list(self._tasks))
            self._write_episode_table()
            self._write_json("meta/info.json", self._info())
            self._write_json("meta/stats.json", self._stats_json())
            spec = self.action_spec.model_dump(mode="json") if self.action_spec else None
            ours = {"format_version": 1, "fps": self.fps, "action_spec": spec, "extras": self._extra_shapes}
            self._write_json(layout.OUR_METADATA, ours)

    def _checked(self, frames: np.ndarray, columns: Columns) -> dict[str, np.ndarray]:
        """Every float column as (T, width), by feature name."""
        where, length = f"episode {self.num_episodes} for {self.path}", len(frames)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != tuple(self.frame_shape) or not length:
            raise DataError(
                f"{where}: frames are {frames.dtype} {frames.shape}; expected uint8 (T, {self.frame_shape})."
            )
        even = np.arange(length) / self.fps
        if columns.times.shape != (length,) or np.abs(columns.times - even).max() > TIME_TOLERANCE:
            raise DataError(f"{where}: times must be 0, 1/{self.fps:g}, 2/{self.fps:g}, ... seconds, one a frame.")
        if (columns.actions is None) != (self.action_spec is None):
            raise DataError(f"{where}: actions and an action spec go together; give both or neither.")
        vectors: dict[str, np.ndarray] = {}
        if columns.actions is not None and self.action_spec is not None:
            self.action_spec.check(columns.actions, where)
            vectors["action"] = columns.actions
        if columns.rewards is not None:
            vectors[layout.REWARD] = np.asarray(columns.rewards).reshape(-1, 1)
        for key, values in columns.extras.items():
            vectors[layout.EXTRAS + key] = np.asarray(values).reshape(len(values), -1)
        for name, values in vectors.items():
            if len(values) != length:
                raise DataError(f"{where}: {name} has {len(values)} rows; expected {length}, one a frame.")
        return vectors

    def _fix_widths(self, vectors: dict[str, np.ndarray]) -> None:
        """The first episode decides which columns there are."""
        widths = {name: values.shape[1] for name, values in vectors.items()}
        if self._widths is None:
            self._widths = widths
        elif widths != self._widths:
            raise DataError(
                f"episode {self.num_episodes} for {self.path} has the columns {widths}; the first episode "
                f"had {self._widths}. Every episode of a dataset needs the same columns."
            )

    def _table(
        self, columns: Columns, vectors: dict[str, np.ndarray], task_index: int, pixels: pa.Array | None
    ) -> pa.Table:
        length = len(columns.times)
        arrays: dict[str, pa.Array] = {name: layout.vector_column(values) for name, values in vectors.items()}
        if pixels is not None:
            arrays[layout.CAMERA] = pixels
        steps = np.arange(length)
        rows = {
            "timestamp": columns.times,
            "frame_index": steps,
            "episode_index": np.full(length, self.num_episodes),
            "index": self.num_frames + steps,
            "task_index": np.full(length, task_index),
        }
        arrays |= {name: pa.array(rows[name], kind) for name, kind in layout.BOOKKEEPING.items()}
        return pa.table(arrays)

    def _write_table(self, table: pa.Table) -> dict[str, int]:
        if self._data is None:
            chunk, file = layout.chunk_and_file(self._data_files)
            path = self._root / layout.DATA_PATH.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Pictures are compressed already; dictionaries of them would only cost time and memory.
            plain = [c for c in table.column_names if c not in layout.BOOKKEEPING and c != layout.CAMERA]
            self._data = pq.ParquetWriter(path, table.schema, use_dictionary=plain or False, compression="snappy")
        self._data.write_table(table)
        chunk, file = layout.chunk_and_file(self._data_files)
        self._data_bytes += table.nbytes
        if self._data_bytes >= layout.DATA_FILE_MEGABYTES * MEGABYTE:
            self._close_data()
            self._data_files, self._data_bytes = self._data_files + 1, 0
        ends = {"dataset_from_index": self.num_frames, "dataset_to_index": self.num_frames + len(table)}
        return {"data/chunk_index": chunk, "data/file_index": file, **ends}

    def _write_video(self, frames: np.ndarray) -> dict[str, Any]:
        if self._video and self._video.path.stat().st_size >= layout.VIDEO_FILE_MEGABYTES * MEGABYTE:
            self._close_video()
            self._video_files += 1
        chunk, file = layout.chunk_and_file(self._video_files)
        if self._video is None:
            where = layout.VIDEO_PATH.format(video_key=layout.CAMERA, chunk_index=chunk, file_index=file)
            (self._root / where).parent.mkdir(parents=True, exist_ok=True)
            from flexlam.data.video import VideoEncoder  # PyAV is large, and lossless recordings do without

            self._video = VideoEncoder(self._root / where, self.fps, self.frame_shape, self._crf)
        start = self._video.num_frames / self.fps
        for frame in frames:
            self._video.append(frame)
        values = {"chunk_index": chunk, "file_index": file, "from_timestamp": start}
        values["to_timestamp"] = self._video.num_frames / self.fps
        return {f"videos/{layout.CAMERA}/{key}": value for key, value in values.items()}

    def _update_stats(self, frames: np.ndarray, columns: Columns, vectors: dict[str, np.ndarray]) -> None:
        some = np.unique(np.linspace(0, len(frames) - 1, STATS_FRAMES_PER_EPISODE).astype(int))
        pixels = frames[some].reshape(-1, self.frame_shape[2]) / 255.0
        for name, values in {**vectors, "timestamp": columns.times[:, None], layout.CAMERA: pixels}.items():
            self._stats.setdefault(name, layout.RunningStats(values.shape[1])).update(values)
        for key, values in columns.extras.items():
            self._extra_shapes.setdefault(key, list(np.shape(values)[1:]))

    def _write_episode_table(self) -> None:
        path = self._root / layout.EPISODES_PATH.format(chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        places = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        pq.write_table(pa.Table.from_pylist([record | places for record in self._records]), path)

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        names = {"action": layout.action_names(self.action_spec)} if self.action_spec else {}
        for name, width in (self._widths or {}).items():
            features[name] = layout.vector_feature(width, names.get(name))
        camera = {"shape": list(self.frame_shape), "names": ["height", "width", "channels"]}
        kind = "image" if self.codec == "png" else "video"
        features[layout.CAMERA] = {"dtype": kind, **camera} | self._video_features
        for name, arrow in layout.BOOKKEEPING.items():
            dtype = "float32" if arrow == pa.float32() else "int64"
            features[name] = {"dtype": dtype, "shape": [1], "names": None}
        return {
            "codebase_version": layout.CODEBASE_VERSION,
            "robot_type": None,
            "total_episodes": self.num_episodes,
            "total_frames": self.num_frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_FILE_MEGABYTES,
            "video_files_size_in_mb": layout.VIDEO_FILE_MEGABYTES,
            "fps": int(self.fps) if self.fps.is_integer() else self.fps,
            "splits": {"train": f"0:{self.num_episodes}"},
            "data_path": layout.DATA_PATH,
            "video_path": None if self.codec == "png" else layout.VIDEO_PATH,
            "features": features,
        }

    def _stats_json(self) -> dict[str, Any]:
        camera = self._stats[layout.CAMERA]
        pixels = self.frame_shape[0] * self.frame_shape[1]
        stats = {name: s.as_json((-1,)) for name, s in self._stats.items() if s is not camera}
        stats[layout.CAMERA] = camera.as_json((-1, 1, 1), camera.count // pixels)
        return stats

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        write_text(self._root / name, json.dumps(values, indent=2) + "\n")

    def _close_data(self) -> None:
        data, self._data = self._data, None
        if data is not None:
            data.close()

    def _close_video(self) -> None:
        video, self._video = self._video, None
        if video is None:
            return
        video.close()
        height, width, channels = self.frame_shape
        about = {
            "height": height,
            "width": width,
            "channels": channels,
            "codec": "h264",
            "pix_fmt": video.pix_fmt,
        }
        about |= {"fps": self.fps, "g": video.key_frame_every, "is_depth_map": False}
        self._video_features = {"info": {f"video.{key}": value for key, value in about.items()} | {"has_audio": False}}

    def _abandon(self) -> None:
        for finish in (self._close_data, self._close_video):
            with contextlib.suppress(Exception):
                finish()


_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back for the few lines that make an episode part of the dataset, then let it through."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
        if pending:
            signal.raise_signal(signal.SIGINT)

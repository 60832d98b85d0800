"""Build a frame store from any reader: streaming, in bounded memory, whole or not at all."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import Field, PositiveInt

from flexlam.core.config import Config
from flexlam.core.errors import DataError, OutputError
from flexlam.core.files import atomic_folder, check_output_folder, write_text
from flexlam.data.episodes import Columns, EpisodeInfo, Reader
from flexlam.data.shards import Codec, ShardWriter, encode_frame
from flexlam.data.store import (
    EPISODES,
    FORMAT,
    FORMAT_VERSION,
    INDEX,
    MANIFEST,
    ContentHash,
    Manifest,
)

INDEX_ROWS_AT_ONCE = 65_536


class StoreConfig(Config):
    """How a frame store keeps its frames."""

    frame_size: tuple[PositiveInt, PositiveInt] | None = (64, 64)
    """Height and width of the stored frames; None keeps those of the dataset."""
    codec: Codec = "raw"
    """raw: fastest; webp: lossless, about half the bytes; jpeg: lossy, about a seventh."""
    shard_bytes: int = Field(default=2_000_000_000, gt=0, le=2_000_000_000)
    """Largest size of one file of frames."""


@dataclass(frozen=True)
class Skipped:
    """An episode that was left out."""

    episode: int
    """Its index in the dataset."""
    name: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What became of a dataset."""

    num_frames: int
    num_episodes: int
    num_bytes: int
    content_hash: str
    skipped: tuple[Skipped, ...]


def build_store(
    reader: Reader,
    path: Path,
    config: StoreConfig | None = None,
    progress: Callable[[int], object] | None = None,
    announce: Callable[[str], object] = print,
    overwrite: bool = False,
) -> BuildReport:
    """Write the store of a dataset to `path`; `progress` is called with 1 for every frame.

    Frames of another size are resized (area average when shrinking; the aspect ratio is not kept).
    Episodes that cannot be decoded, do not fit, or have fewer than two frames are left out and listed.

    Raises:
        DataError: no episode can be used.
        OutputError: the folder exists (without `overwrite`), cannot be written, or the disk is full.
    """
    config = config or StoreConfig()
    check_output_folder(path, overwrite)
    _announce(reader, path, config, announce)
    with atomic_folder(path) as folder:
        builder = _Builder(reader, folder, config, progress or (lambda _: None))
        return builder.run()


@dataclass
class _Rows:
    """Rows of index.parquet that wait to be written."""

    columns: dict[str, list[np.ndarray]] = field(default_factory=dict)
    count: int = 0

    def add(self, values: dict[str, np.ndarray]) -> None:
        for name, column in values.items():
            self.columns.setdefault(name, []).append(column)
        self.count += len(values["step"])

    def take(self) -> pa.Table:
        table = pa.table({name: np.concatenate(parts) for name, parts in self.columns.items()})
        self.columns, self.count = {}, 0
        return table


class _Builder:
    def __init__(self, reader: Reader, folder: Path, config: StoreConfig, progress: Callable[[int], object]) -> None:
        self._reader, self._folder, self._config, self._progress = reader, folder, config, progress
        info = reader.info
        self._shape = (*(config.frame_size or info.frame_shape[:2]), info.frame_shape[2])
        self._digest = ContentHash()
        self._rows = _Rows()
        self._index: pq.ParquetWriter | None = None
        self._kept: list[dict[str, object]] = []
        self._skipped: list[Skipped] = []
        self._has_rewards: bool | None = None
        self._num_frames = 0

    def run(self) -> BuildReport:
        with (
            ShardWriter(self._folder, self._config.codec, self._config.shard_bytes) as shards,
            self._closing_index(),
        ):
            for episode in self._reader.episodes():
                mark, digest = shards.mark(), self._digest.copy()
                try:
                    self._add(episode, shards)
                except DataError as error:
                    shards.rollback(mark)
                    self._digest = digest
                    self._skipped.append(Skipped(episode.index, episode.name, str(error)))
            if not self._kept:
                first = self._skipped[0].reason if self._skipped else "the dataset lists none"
                raise DataError(
                    f"None of the {len(self._skipped)} episodes can be used. The first: {first} "
                    "Look into the dataset with: flexlam data check"
                )
            self._flush_index()
            sizes = shards.finish()
        pq.write_table(pa.Table.from_pylist(self._kept), self._folder / EPISODES)
        info = self._reader.info
        manifest = Manifest(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            content_hash=self._digest.hexdigest(),
            num_frames=self._num_frames,
            num_episodes=len(self._kept),
            frame_shape=self._shape,
            fps=info.fps,
            codec=self._config.codec,
            action_spec=info.action_spec,
            has_rewards=bool(self._has_rewards),
            shards=sizes,
            source={"format": info.format, "name": Path(getattr(self._reader, "path", "")).name},
        )
        write_text(self._folder / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
        num_bytes = sum(file.stat().st_size for file in self._folder.iterdir())
        skipped = tuple(self._skipped)
        return BuildReport(self._num_frames, len(self._kept), num_bytes, manifest.content_hash, skipped)

    def _add(self, episode: EpisodeInfo, shards: ShardWriter) -> None:
        columns = self._reader.columns(episode)
        length = self._check_columns(columns, episode)
        lossy, count = self._config.codec == "jpeg", 0
        for frame in self._reader.frames(episode):
            if count == length:
                raise DataError(f"{episode.name} has more than {length} frames, but {length} rows of columns.")
            frame = self._fit(frame, episode)
            data = encode_frame(self._config.codec, frame)
            self._digest.add_frame(data if lossy or self._config.codec == "raw" else frame.tobytes())
            shards.append(data)
            self._progress(1)
            count += 1
        if count != length:
            raise DataError(f"{episode.name} has {count} frames, but {length} rows of columns.")
        self._digest.end_episode(episode.task, columns.times, columns.actions, columns.rewards)
        self._keep(episode, columns, length)

    def _check_columns(self, columns: Columns, episode: EpisodeInfo) -> int:
        length, spec = len(columns.times), self._reader.info.action_spec
        if length < 2:
            raise DataError(f"{episode.name} has {length} frame(s); a transition needs two.")
        if self._has_rewards is not None and (columns.rewards is not None) != self._has_rewards:
            raise DataError(f"{episode.name} differs from earlier episodes in having rewards.")
        if spec is not None:
            if columns.actions is None or len(columns.actions) != length:
                got = "no actions" if columns.actions is None else f"{len(columns.actions)} actions"
                raise DataError(f"{episode.name} has {got} for {length} frames.")
            spec.check(columns.actions, episode.name)
        if not (np.diff(columns.times) > 0).all():
            raise DataError(f"{episode.name} has times that do not increase.")
        return length

    def _fit(self, frame: np.ndarray, episode: EpisodeInfo) -> np.ndarray:
        height, width, channels = self._shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != channels:
            raise DataError(
                f"{episode.name} has frames {frame.dtype} {frame.shape}; expected uint8 (H, W, {channels})."
            )
        if frame.shape == self._shape:
            return frame
        if self._config.frame_size is None:
            raise DataError(
                f"{episode.name} has frames of {frame.shape[0]} x {frame.shape[1]}; the dataset's first are "
                f"{height} x {width}. Give a frame_size to bring them to one size."
            )
        return resize(frame, (height, width))

    def _keep(self, episode: EpisodeInfo, columns: Columns, length: int) -> None:
        number = len(self._kept)
        values: dict[str, np.ndarray] = {
            "episode": np.full(length, number, np.int32),
            "step": np.arange(length, dtype=np.int32),
            "time": np.asarray(columns.times, np.float64),
        }
        if self._reader.info.action_spec is not None and columns.actions is not None:
            values |= {f"action_{i}": column.astype(np.float32) for i, column in enumerate(columns.actions.T)}
        if columns.rewards is not None:
            values["reward"] = np.asarray(columns.rewards, np.float32)
        self._has_rewards = columns.rewards is not None
        self._rows.add(values)
        about = {"name": episode.name, "task": episode.task, "source_index": episode.index}
        self._kept.append({"index": number, **about, "start": self._num_frames, "length": length})
        self._num_frames += length
        if self._rows.count >= INDEX_ROWS_AT_ONCE:
            self._flush_index()

    def _flush_index(self) -> None:
        if self._rows.count:
            table = self._rows.take()
            if self._index is None:
                self._index = pq.ParquetWriter(self._folder / INDEX, table.schema)
            self._index.write_table(table)

    @contextlib.contextmanager
    def _closing_index(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if self._index is not None:
                    self._index.close()
            raise
        if self._index is not None:
            self._index.close()


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frame (H, W, C) uint8 at another height and width, without aliasing."""
    height, width = size
    shrinks = height <= frame.shape[0] and width <= frame.shape[1]
    image = Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS))
    return pixels.reshape(height, width, frame.shape[2])


def _announce(reader: Reader, path: Path, config: StoreConfig, announce: Callable[[str], object]) -> None:
    info = reader.info
    height, width = config.frame_size or info.frame_shape[:2]
    frame_bytes = height * width * info.frame_shape[2]
    most = "at most " if config.codec != "raw" else ""
    if info.num_frames is None:
        announce(f"Writing frames to {path}: {most}{frame_bytes:,} bytes each; their number is not known yet.")
        return
    total = info.num_frames * frame_bytes
    announce(f"Writing {info.num_frames:,} frames of {height} x {width} to {path}: {most}{total / 1e6:,.1f} MB.")
    free = shutil.disk_usage(_existing(path)).free
    if config.codec == "raw" and total > free:
        raise OutputError(
            f"{path} needs {total / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free. "
            "Free some space, choose another --out folder, a smaller frame_size or the codec webp."
        )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)

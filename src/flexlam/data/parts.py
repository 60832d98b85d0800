"""One episode on its way into a frame store: decoded, thinned, resized and encoded, as two files."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import Field, PositiveInt

from flexlam.core.config import Config
from flexlam.core.errors import DataError
from flexlam.data.episodes import Columns, EpisodeInfo, Reader
from flexlam.data.extras import COLUMN, as_vectors
from flexlam.data.shards import Codec, encode_frame

_TELL_EVERY = 64  # frames: a message costs as much as a small frame

FrameFit = Literal["stretch", "crop", "pad"]


class StoreConfig(Config):
    """How a frame store keeps its frames."""

    frame_size: tuple[PositiveInt, PositiveInt] | None = (64, 64)
    """Height and width of the stored frames; None keeps those of the dataset."""
    fit: FrameFit = "stretch"
    """How frames of another shape are brought to that size: stretched, cropped to its aspect ratio, or padded."""
    frame_gap: float | None = Field(default=None, gt=0)
    """Seconds between kept frames (.625 for the paper's 1.6 frames a second); None keeps all. A kept frame keeps its
    own action and extras, and the rewards up to the next one are added up."""
    codec: Codec = "raw"
    """raw: fastest; webp: lossless, about half the bytes; jpeg: lossy, about a seventh."""
    shard_bytes: int = Field(default=2_000_000_000, gt=0, le=2_000_000_000)
    """Largest size of one file of frames."""


@dataclass(frozen=True)
class Part:
    """An episode in a folder of parts."""

    folder: Path
    index: int

    @property
    def frames(self) -> Path:
        """Encoded frames, one after the other."""
        return self.folder / f"{self.index:08d}.bin"

    @property
    def columns(self) -> Path:
        """Everything else; written last."""
        return self.folder / f"{self.index:08d}.npz"

    def is_whole(self) -> bool:
        """Whether nothing is missing: a kill or a loss of power may have come in between."""
        if not (self.columns.exists() and self.frames.exists()):
            return False
        return self.frames.stat().st_size == int(PartColumns.load(self.columns).ends[-1])


@dataclass(frozen=True)
class PartColumns:
    """What belongs to the frames of a part."""

    columns: Columns
    ends: np.ndarray
    """(T,) int64, where each frame ends."""
    digest: str
    """Hash of frames and columns, without extras."""

    def save(self, path: Path) -> None:
        """Write in one step."""
        arrays = {"times": self.columns.times, "ends": self.ends, "digest": np.array(self.digest)}
        for name in ("actions", "rewards"):
            values = getattr(self.columns, name)
            if values is not None:
                arrays[name] = np.asarray(values, np.float32)
        arrays |= {COLUMN + name: values for name, values in as_vectors(self.columns.extras).items()}
        beside = path.with_suffix(".partial")
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> "PartColumns":
        """Read back."""
        with np.load(path, allow_pickle=False) as arrays:
            extras = {n.removeprefix(COLUMN): arrays[n] for n in arrays.files if n.startswith(COLUMN)}
            columns = Columns(arrays["times"], arrays.get("actions"), arrays.get("rewards"), extras)
            return cls(columns, arrays["ends"], str(arrays["digest"]))


class EpisodeDigest:
    """Hash of an episode: its task, frames and columns; the same whichever lossless codec keeps the frames.

    Extras are hashed apart (data/extras.py), for only those that all episodes share are kept.
    """

    def __init__(self, task: str) -> None:
        self._digest = hashlib.sha256(task.encode())

    def add_frame(self, data: bytes) -> None:
        """Take in a frame: its pixels, or its encoded bytes under a lossy codec."""
        self._digest.update(data)

    def finish(self, times: np.ndarray, actions: np.ndarray | None, rewards: np.ndarray | None) -> str:
        """Take in the columns; the hash, in hexadecimal digits."""
        self._digest.update(json.dumps([len(times), actions is not None, rewards is not None]).encode())
        for values, dtype in ((times, np.float64), (actions, np.float32), (rewards, np.float32)):
            if values is not None:
                self._digest.update(np.ascontiguousarray(values, dtype).tobytes())
        return self._digest.hexdigest()


def prepare(
    reader: Reader, episode: EpisodeInfo, part: Part, config: StoreConfig, tell: Callable[[int], object]
) -> None:
    """Write the part of an episode; `tell` is called with the number of frames decoded since the last call.

    Raises:
        DataError: the episode cannot be decoded or does not fit the dataset.
        OSError: the disk is full.
    """
    columns = reader.columns(episode)
    _check(columns, reader, episode)
    length, kept = len(columns.times), _kept(columns.times, config.frame_gap)
    if len(kept) < 2:
        raise DataError(
            f"{episode.name} keeps {len(kept)} frame(s) {config.frame_gap} s apart; a transition needs two."
        )
    columns = _thinned(columns, kept)
    shape = (*(config.frame_size or reader.info.frame_shape[:2]), reader.info.frame_shape[2])
    digest, ends, size = EpisodeDigest(episode.task), [], 0
    try:
        with part.frames.open("wb", buffering=1 << 20) as file:
            for frame in _wanted(reader, episode, length, kept, tell):
                frame = _fit(frame, shape, config, episode)
                data = encode_frame(config.codec, frame)
                digest.add_frame(frame.tobytes() if config.codec == "webp" else data)
                file.write(data)
                size += len(data)
                ends.append(size)
    except DataError:
        part.frames.unlink(missing_ok=True)
        raise
    actions = columns.actions if reader.info.action_spec is not None else None
    columns = Columns(np.asarray(columns.times, np.float64), actions, columns.rewards, columns.extras)
    found = digest.finish(columns.times, actions, columns.rewards)
    PartColumns(columns, np.array(ends, np.int64), found).save(part.columns)


def _wanted(
    reader: Reader, episode: EpisodeInfo, length: int, kept: np.ndarray, tell: Callable[[int], object]
) -> Iterator[np.ndarray]:
    """The kept ones of an episode's `length` frames."""
    wanted, count = np.isin(np.arange(length), kept), 0
    for frame in reader.frames(episode):
        if count == length:
            raise DataError(f"{episode.name} has more than {length} frames, but {length} rows of columns.")
        if wanted[count]:
            yield frame
        count += 1
        if count % _TELL_EVERY == 0:
            tell(_TELL_EVERY)
    tell(count % _TELL_EVERY)
    if count != length:
        raise DataError(f"{episode.name} has {count} frames, but {length} rows of columns.")


def _check(columns: Columns, reader: Reader, episode: EpisodeInfo) -> None:
    length, spec = len(columns.times), reader.info.action_spec
    if length < 2:
        raise DataError(f"{episode.name} has {length} frame(s); a transition needs two.")
    if spec is not None:
        if columns.actions is None or len(columns.actions) != length:
            got = "no actions" if columns.actions is None else f"{len(columns.actions)} actions"
            raise DataError(f"{episode.name} has {got} for {length} frames.")
        spec.check(columns.actions, episode.name)
    for name, values in columns.extras.items():
        if len(values) != length:
            raise DataError(f"{episode.name} has {len(values)} rows of the extra {name!r} for {length} frames.")
    if not (np.diff(columns.times) > 0).all():
        raise DataError(f"{episode.name} has times that do not increase.")


def _kept(times: np.ndarray, gap: float | None) -> np.ndarray:
    """Rows (K,) of the frames nearest to 0, 1, 2, ... gaps after the first."""
    if gap is None:
        return np.arange(len(times))
    half = float(np.median(np.diff(times))) / 2
    wanted = np.arange(0.0, times[-1] - times[0] + half, gap) + times[0]
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    nearest = np.where(wanted - times[right - 1] <= times[right] - wanted, right - 1, right)
    return np.unique(nearest)


def _thinned(columns: Columns, kept: np.ndarray) -> Columns:
    rewards = columns.rewards
    return Columns(
        times=columns.times[kept],
        actions=None if columns.actions is None else columns.actions[kept],
        rewards=None if rewards is None else np.add.reduceat(rewards, kept).astype(np.float32),
        extras={name: values[kept] for name, values in columns.extras.items()},
    )


def _fit(frame: np.ndarray, shape: tuple[int, int, int], config: StoreConfig, episode: EpisodeInfo) -> np.ndarray:
    height, width, channels = shape
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != channels:
        raise DataError(f"{episode.name} has frames {frame.dtype} {frame.shape}; expected uint8 (H, W, {channels}).")
    if frame.shape == shape:
        return frame
    if config.frame_size is None:
        raise DataError(
            f"{episode.name} has frames of {frame.shape[0]} x {frame.shape[1]}; the dataset's first are "
            f"{height} x {width}. Give a frame_size to bring them to one size."
        )
    return resize(frame, (height, width), config.fit)


def resize(frame: np.ndarray, size: tuple[int, int], fit: FrameFit = "stretch") -> np.ndarray:
    """Frame (H, W, C) uint8 at another height and width, without aliasing: the mean of an area when shrinking.

    "crop" takes the largest centred part of that aspect ratio, "pad" puts the whole frame on black.
    """
    height, width = size
    if fit == "stretch":
        return _scaled(frame, height, width)
    ratio = min(frame.shape[0] / height, frame.shape[1] / width)
    if fit == "crop":
        rows, columns = round(height * ratio), round(width * ratio)
        top, left = (frame.shape[0] - rows) // 2, (frame.shape[1] - columns) // 2
        return _scaled(frame[top : top + rows, left : left + columns], height, width)
    ratio = max(frame.shape[0] / height, frame.shape[1] / width)
    rows, columns = max(1, round(frame.shape[0] / ratio)), max(1, round(frame.shape[1] / ratio))
    top, left = (height - rows) // 2, (width - columns) // 2
    padded = np.zeros((height, width, frame.shape[2]), np.uint8)
    padded[top : top + rows, left : left + columns] = _scaled(frame, rows, columns)
    return padded


def _scaled(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height <= frame.shape[0] and width <= frame.shape[1]
    image = Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[2] == 1 else frame))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS))
    return pixels.reshape(height, width, frame.shape[2])

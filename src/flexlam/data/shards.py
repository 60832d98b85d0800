"""Frames in shards: flat memory-mapped files of raw pixels, or of one small picture after the other."""

import contextlib
import io
from array import array
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from flexlam.core.config import Config
from flexlam.core.errors import DataError

Codec = Literal["raw", "webp", "jpeg"]
JPEG_QUALITY = 95


class ShardInfo(Config):
    """Size of one shard, to notice a truncated one."""

    num_frames: int
    num_bytes: int


def shard_path(folder: Path, number: int) -> Path:
    """File of the n-th shard; encoded shards have their offsets beside, in .npy."""
    return folder / f"frames-{number:05d}.bin"


def encode_frame(codec: Codec, frame: np.ndarray) -> bytes:
    """Bytes of a frame (H, W, C) uint8 as a shard keeps them."""
    if codec == "raw":
        return frame.tobytes()
    file = io.BytesIO()
    image = Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame)
    if codec == "webp":
        image.convert("RGB").save(file, "WEBP", lossless=True, method=0, quality=0)
    else:
        image.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def decode_frame(data: bytes, num_channels: int) -> np.ndarray:
    """Frame (H, W, C) uint8 of an encoded picture."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)[..., :num_channels]


class ShardWriter:
    """Append the frames of episodes; a new file begins before one would pass `shard_bytes`. Use as a context manager.

    `state` after an episode, given to a new writer of the same folder, goes on from there: what was written after it
    is cut off.
    """

    def __init__(self, folder: Path, codec: Codec, shard_bytes: int, ends: list[np.ndarray] | None = None) -> None:
        self._folder, self._codec, self._limit = folder, codec, shard_bytes
        # Of each shard, where its frames end: an array of int64, because there may be millions.
        self._ends: list[Any] = [array("q", end.tobytes()) for end in ends or ()]
        self._file: BinaryIO | None = None
        for left in folder.glob("frames-*.bin"):
            if int(left.stem.removeprefix("frames-")) >= len(self._ends):
                left.unlink()
        if self._ends:
            self._file = shard_path(folder, len(self._ends) - 1).open("r+b", buffering=1 << 20)
            self._file.truncate(self._size())
            self._file.seek(0, io.SEEK_END)

    def append(self, frames: Path, ends: np.ndarray) -> list[tuple[int, int]]:
        """Add encoded frames that lie one after the other in a file and end at `ends` (T,) int64.

        Returns (shard, number of frames) of each stretch.
        """
        stretches: list[tuple[int, int]] = []
        start = 0
        with frames.open("rb") as source:
            while start < len(ends):
                base = int(ends[start - 1]) if start else 0
                if not self._ends or (self._size() + int(ends[start]) - base > self._limit and self._ends[-1]):
                    self._begin()
                assert self._file is not None
                size = self._size()
                stop = max(start + 1, int(np.searchsorted(ends, self._limit - size + base, side="right")))
                _copy(source, self._file, int(ends[stop - 1]) - base)
                self._ends[-1].frombytes((ends[start:stop] - base + size).astype(np.int64).tobytes())
                stretches.append((len(self._ends) - 1, stop - start))
                start = stop
        return stretches

    def flush(self) -> None:
        """Hand everything to the system, so that a kill of this process loses nothing."""
        if self._file is not None:
            self._file.flush()

    def finish(self) -> tuple[ShardInfo, ...]:
        """Flush everything and write the offsets of encoded shards."""
        self._close_file()
        for number, ends in enumerate(self._ends):
            if self._codec != "raw":
                offsets = np.concatenate([[0], np.frombuffer(ends, np.int64)])
                with shard_path(self._folder, number).with_suffix(".npy").open("wb") as file:
                    np.save(file, offsets)
        return tuple(ShardInfo(num_frames=len(ends), num_bytes=ends[-1]) for ends in self._ends)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        # On a full disk this fails once more; the error that ended the block is the one to show.
        with contextlib.suppress(OSError):
            self._close_file()

    def _size(self) -> int:
        return self._ends[-1][-1] if self._ends and self._ends[-1] else 0

    def _begin(self) -> None:
        self._close_file()
        self._file = shard_path(self._folder, len(self._ends)).open("wb", buffering=1 << 20)
        self._ends.append(array("q"))

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _copy(source: BinaryIO, target: BinaryIO, num_bytes: int) -> None:
    while num_bytes:
        piece = source.read(min(num_bytes, 1 << 20))
        if not piece:
            raise DataError("The frames of an episode end early.")
        target.write(piece)
        num_bytes -= len(piece)


class ShardReader:
    """Random access to the frames of a folder of shards.

    Raises:
        DataError: a shard is missing or has another size than it was written with.
    """

    def __init__(
        self, folder: Path, shards: tuple[ShardInfo, ...], codec: Codec, frame_shape: tuple[int, int, int]
    ) -> None:
        self._folder, self._shards, self._codec, self._shape = folder, shards, codec, frame_shape
        self._starts = np.cumsum([0, *(shard.num_frames for shard in shards)])
        for number, shard in enumerate(shards):
            self._check(shard_path(folder, number), shard)
        self._maps: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """Frames (N, H, W, C) uint8 at positions (N,) int64 of 0 .. num_frames - 1, in any order."""
        out = np.empty((len(indices), *self._shape), np.uint8)
        if len(self._shards) == 1:
            self._gather_shard(0, indices, out)
            return out
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(numbers):
            rows = np.flatnonzero(numbers == number)
            part = np.empty((len(rows), *self._shape), np.uint8)
            self._gather_shard(int(number), indices[rows] - self._starts[number], part)
            out[rows] = part
        return out

    def stored_bytes(self, index: int) -> bytes:
        """What the shard keeps of one frame."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        data, offsets = self._map(number)
        local = index - self._starts[number]
        return data[local].tobytes() if offsets is None else data[offsets[local] : offsets[local + 1]].tobytes()

    def _gather_shard(self, number: int, indices: np.ndarray, out: np.ndarray) -> None:
        data, offsets = self._map(number)
        if offsets is None:
            # The store has checked the positions; "clip" lets NumPy write into `out` without a second buffer.
            np.take(data, indices, axis=0, out=out, mode="clip")
            return
        for row, index in enumerate(indices):
            try:
                out[row] = decode_frame(data[offsets[index] : offsets[index + 1]].tobytes(), self._shape[2])
            except (OSError, ValueError, UnidentifiedImageError) as error:
                raise DataError(
                    f"Frame {index} of {shard_path(self._folder, number)} cannot be decoded ({error}); "
                    "the shard is damaged. Build the frame store again."
                ) from error

    def _map(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Bytes of a shard, and where each encoded frame begins; mapped when first asked for."""
        if number not in self._maps:
            path = shard_path(self._folder, number)
            data = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
            raw = self._codec == "raw"
            self._maps[number] = (
                (data.reshape(-1, *self._shape), None) if raw else (data, np.load(path.with_suffix(".npy")))
            )
        return self._maps[number]

    def _check(self, path: Path, shard: ShardInfo) -> None:
        try:
            size = path.stat().st_size
            length = None if self._codec == "raw" else len(np.load(path.with_suffix(".npy"), mmap_mode="r")) - 1
        except (OSError, ValueError) as error:
            raise DataError(f"{path} or its offsets cannot be read ({error}). Build the frame store again.") from error
        if size != shard.num_bytes or length not in (None, shard.num_frames):
            raise DataError(
                f"{path} is truncated or damaged: it has {size} bytes; expected {shard.num_bytes} bytes in "
                f"{shard.num_frames} frames. Build the frame store again."
            )
        if self._codec == "raw" and shard.num_bytes != shard.num_frames * int(np.prod(self._shape)):
            raise DataError(f"{path} does not hold frames of shape {self._shape}. Build the frame store again.")

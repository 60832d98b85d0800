"""Watch one episode from its first frame to its last, and say what would trouble training."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.episodes import EpisodeInfo, Reader

THUMBNAIL = 16
FROZEN_SECONDS, FROZEN_FRAMES = 1.0, 8
CUT_LEVELS, CUT_TIMES = 40.0, 6.0
UNEVEN = 1.5
_TELL_EVERY = 16
_LISTED = 5


@dataclass
class Seen:
    """What was seen of an episode."""

    num_frames: int = 0
    shape: tuple[int, int, int] | None = None
    """(H, W, C) of the first frame."""
    fps: float | None = None
    """1 over the median time between frames."""
    digest: str = ""
    """Hash of the frames, by which copies are found."""
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def watch(reader: Reader, episode: EpisodeInfo, tell: Callable[[int], object]) -> Seen:
    """Decode an episode once; one frame and small thumbnails of the others are in memory.

    Raises:
        DataError: a frame or the columns cannot be read.
    """
    seen, digest = Seen(), hashlib.sha256()
    thumbnails: list[np.ndarray] = []
    same: list[bool] = []
    last: np.ndarray | None = None
    for frame in reader.frames(episode):
        height, width, channels = frame.shape
        if seen.shape is None:
            seen.shape = (height, width, channels)
        elif last is not None and frame.shape != last.shape:
            seen.warnings.append(f"resolution changes to {height} x {width} at frame {seen.num_frames}")
        same.append(last is not None and np.array_equal(frame, last))
        thumbnails.append(_thumbnail(frame))
        digest.update(frame.tobytes())
        last = frame
        seen.num_frames += 1
        if seen.num_frames % _TELL_EVERY == 0:
            tell(_TELL_EVERY)
    tell(seen.num_frames % _TELL_EVERY)
    seen.digest = digest.hexdigest()
    if seen.num_frames < 2:
        seen.warnings.append(f"has {seen.num_frames} frame(s); a transition needs two")
    _watch_columns(seen, reader, episode)
    if all(same[1:]) and seen.num_frames > 1:
        seen.warnings.append("every frame is the same")
    else:
        _watch_stillness(seen, np.array(same), reader.info.fps)
        _watch_cuts(seen, np.array(thumbnails))
    return seen


def _watch_columns(seen: Seen, reader: Reader, episode: EpisodeInfo) -> None:
    columns, spec, count = reader.columns(episode), reader.info.action_spec, seen.num_frames
    gaps = np.diff(columns.times)
    if len(columns.times) != count:
        seen.errors.append(f"{count} frames but {len(columns.times)} times")
    elif not (gaps > 0).all():
        seen.errors.append("times do not increase")
    elif len(gaps):
        seen.fps = 1 / float(np.median(gaps))
        if gaps.max() > UNEVEN * gaps.min():
            uneven = f"{gaps.min():.3g} to {gaps.max():.3g} s"
            seen.warnings.append(f"times between frames vary, {uneven}; give gaps in seconds (--pairs.gap-seconds)")
    if columns.rewards is not None and not np.isfinite(columns.rewards).all():
        seen.errors.append("rewards contain NaN or infinity")
    if spec is None:
        return
    if columns.actions is None or len(columns.actions) != count:
        seen.errors.append(f"{count} frames but {0 if columns.actions is None else len(columns.actions)} actions")
        return
    try:
        spec.check(columns.actions, episode.name)
    except DataError as error:
        seen.errors.append(str(error))
        return
    if count > FROZEN_FRAMES and (columns.actions == columns.actions[0]).all():
        seen.warnings.append("every action is the same")


def _watch_stillness(seen: Seen, same: np.ndarray, fps: float) -> None:
    """Stretches of frames equal to the one before."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
    longest = max(FROZEN_FRAMES, round(FROZEN_SECONDS * fps))
    frozen = [(start - 1, end - 1) for start, end in edges.reshape(-1, 2).tolist() if end - start >= longest]
    if frozen:
        seen.warnings.append(f"frames stand still: {_list([f'{start} to {end}' for start, end in frozen])}")


def _watch_cuts(seen: Seen, thumbnails: np.ndarray) -> None:
    """Frames that differ from the one before by far more than is usual in the episode."""
    if len(thumbnails) < 3:
        return
    change = np.abs(np.diff(thumbnails.astype(np.float32), axis=0)).mean((1, 2))
    cuts = np.flatnonzero((change > CUT_LEVELS) & (change > CUT_TIMES * np.median(change))) + 1
    if len(cuts):
        seen.warnings.append(f"hard cuts, which no action explains, at frame {_list([str(cut) for cut in cuts])}")


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """A few grey values (THUMBNAIL, THUMBNAIL), the means of blocks (or single pixels of a small frame)."""
    grey = frame.mean(2)
    rows, columns = (max(1, size // THUMBNAIL) for size in grey.shape)
    height, width = (min(size, THUMBNAIL) for size in grey.shape)
    blocks = grey[: rows * height, : columns * width].reshape(height, rows, width, columns).mean((1, 3))
    padded = np.zeros((THUMBNAIL, THUMBNAIL), np.float32)
    padded[:height, :width] = blocks
    return padded.astype(np.uint8)


def _list(items: list[str]) -> str:
    more = len(items) - _LISTED
    return ", ".join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "")

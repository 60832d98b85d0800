"""What a reader yields: episodes of frames, one at a time, never a whole dataset in memory.

Row t of an episode holds the frame o_t, the action a_t executed on seeing it, and the reward that followed; the
frame after the last action is not kept (the LeRobot convention). A transition is (o_t, a_t, o_{t+1}).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from flexlam.core.action import ActionSpec

ActionTiming = Literal["follows", "precedes"]


@dataclass(frozen=True)
class EpisodeInfo:
    """One episode as listed by a reader."""

    index: int
    """0, 1, 2, ... in the order of the dataset."""
    name: str
    """Where it comes from, for messages: a file name or an id."""
    task: str
    length: int | None
    """Number of frames, where the format tells without decoding."""
    problem: str = ""
    """Why it cannot be read, where that shows without decoding."""


@dataclass(frozen=True)
class Columns:
    """What an episode holds beside its frames; T rows each."""

    times: np.ndarray
    """(T,) float64, seconds since the start of the episode."""
    actions: np.ndarray | None = None
    """(T, A) float32."""
    rewards: np.ndarray | None = None
    """(T,) float32."""
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further per-step numbers (T, ...), such as the exact state of an overlay."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before decoding it."""

    format: str
    num_episodes: int
    num_frames: int | None
    frame_shape: tuple[int, int, int]
    """(H, W, C)."""
    fps: float
    action_spec: ActionSpec | None
    """None where the dataset has no actions."""
    tasks: tuple[str, ...]
    action_timing: ActionTiming = "follows"
    """Of the dataset: an action follows its frame (it was executed on seeing it) or precedes it (it led to it)."""
    cameras: tuple[str, ...] = ()
    """Names of the cameras to choose from, where a dataset has several."""


class Reader(Protocol):
    """Streams the episodes of a dataset.

    A format's reader (data/readers) also has `recognises(path)`, which tells without decoding whether a path looks like
    the format, and a constructor that takes the path or URL (and, where there are several cameras, the name of one),
    raising DataError where that is not usable. Its rows are as the dataset has them: `open_dataset` moves actions that
    precede their frames (data/source.py).
    """

    info: DatasetInfo

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: the episode cannot be decoded.
        """

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the episode cannot be read.
        """

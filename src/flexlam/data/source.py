"""How a dataset is to be read, where its format leaves that open."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from pydantic import Field

from flexlam.core.config import Config
from flexlam.data.episodes import ActionTiming, Columns, DatasetInfo, EpisodeInfo, Reader


class SourceConfig(Config):
    """What the user knows of a dataset better than its format does."""

    camera: str | None = None
    """Which camera, of a dataset with several; the first by default."""
    action_timing: ActionTiming | None = None
    """Whether actions follow their frames (executed on seeing them) or precede them (led to them); None: as the format
    has it. Actions that precede are moved one frame back, and the last frame, whose action is not known, is dropped."""
    fps: float | None = Field(default=None, gt=0)
    """Frames a second, of pictures and arrays that have no clock."""


def as_configured(reader: Reader, source: SourceConfig) -> Reader:
    """The reader with its actions following their frames, and a clock."""
    timing = source.action_timing or reader.info.action_timing
    if timing == "precedes" and reader.info.action_spec is not None:
        reader = Realigned(reader)
    return Retimed(reader, source.fps) if source.fps is not None else reader


class Realigned:
    """A reader whose actions led to their frames: row t gets the action and the reward of row t + 1."""

    info: DatasetInfo

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.path = getattr(reader, "path", None)
        info = reader.info
        lost = sum(1 for episode in reader.episodes() if episode.length)
        num_frames = None if info.num_frames is None else info.num_frames - lost
        self.info = replace(info, num_frames=num_frames, action_timing="precedes")

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, one frame shorter."""
        found = self._reader.episodes()
        return [replace(episode, length=max(0, episode.length - 1) if episode.length else None) for episode in found]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """All frames but the last.

        Raises:
            DataError: the episode cannot be decoded.
        """
        held: np.ndarray | None = None
        for frame in self._reader.frames(episode):
            if held is not None:
                yield held
            held = frame

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the episode cannot be read.
        """
        columns = self._reader.columns(episode)
        return Columns(
            times=columns.times[:-1],
            actions=None if columns.actions is None else columns.actions[1:],
            rewards=None if columns.rewards is None else columns.rewards[1:],
            extras={name: values[:-1] for name, values in columns.extras.items()},
        )


class Retimed:
    """A reader with a clock of so many frames a second."""

    info: DatasetInfo

    def __init__(self, reader: Reader, fps: float) -> None:
        self._reader = reader
        self.path = getattr(reader, "path", None)
        self.info = replace(reader.info, fps=fps)
        self.episodes, self.frames = reader.episodes, reader.frames

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the episode cannot be read.
        """
        columns = self._reader.columns(episode)
        return replace(columns, times=np.arange(len(columns.times)) / self.info.fps)

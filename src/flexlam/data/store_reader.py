"""A frame store, or a mixture, read as a dataset is: episode by episode."""

from collections.abc import Iterator

import numpy as np

from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location
from flexlam.data.mixture import open_frames

_FRAMES_AT_ONCE = 256


class StoreReader:
    """The episodes of a store, under the names that they had in the dataset it was built from.

    Raises:
        DataError: the folder is no store, or is damaged.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path, self.store = path, open_frames(path)
        self.info = DatasetInfo(
            format="frame store",
            num_episodes=self.store.num_episodes,
            num_frames=self.store.num_frames,
            frame_shape=self.store.frame_shape,
            fps=self.store.fps,
            action_spec=self.store.action_spec,
            tasks=self.store.tasks,
        )

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        table = self.store.episodes
        rows = zip(table.names, table.tasks, table.lengths, strict=True)
        return [EpisodeInfo(number, name, task, int(length)) for number, (name, task, length) in enumerate(rows)]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: a frame is damaged.
        """
        rows = self._rows(episode)
        for start in range(rows.start, rows.stop, _FRAMES_AT_ONCE):
            yield from self.store.frames(np.arange(start, min(start + _FRAMES_AT_ONCE, rows.stop)))

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the index is damaged.
        """
        rows, store = self._rows(episode), self.store
        return Columns(
            times=store.times[rows],
            actions=None if store.actions is None else store.actions[rows],
            rewards=None if store.rewards is None else store.rewards[rows],
            extras={name: values[rows] for name, values in store.extras.items()},
        )

    def _rows(self, episode: EpisodeInfo) -> slice:
        start = int(self.store.episodes.starts[episode.index])
        return slice(start, start + int(self.store.episodes.lengths[episode.index]))

"""Procgen chunks as LAPO (Schmidt & Jiang 2024) keeps them: npz files with `obs`, `ta` (true actions) and `done`.

A chunk is a run of steps; an episode ends after a step that is done, or with the chunk. There is no clock: a step
counts as a second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, name_of, natural_order, task_of
from flexlam.data.npz import NpzRows, any_shapes, npz_shapes, read_npz
from flexlam.data.readers.columns import as_frame, as_vectors, guess_spec

_KEYS = {"obs", "ta", "done"}


@dataclass(frozen=True)
class _Episode:
    file: Location
    first: int
    length: int | None
    """None of a damaged chunk."""
    problem: str = ""
    """What is wrong with it."""


class ProcgenNpzReader:
    """Every chunk below a folder, or a single one; the path of its folder is its task.

    A damaged chunk is listed as one episode, which fails when it is read.

    Raises:
        DataError: there is no chunk, or none that can be read.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path = path
        files = sorted(files_below(path, ".npz"), key=natural_order)
        if not files:
            raise DataError(f"{path} holds no npz file.")
        self._episodes = [episode for file in files for episode in _episodes(file)]
        usable = list(dict.fromkeys(episode.file for episode in self._episodes if episode.length))
        if not usable:
            list(_steps(files[0]))  # tells what is wrong with it
            raise DataError(f"{path} holds no step.")
        self._open: NpzRows | None = None
        height, width, channels = as_frame(next(NpzRows(usable[0], "obs").rows(0, 1)), str(usable[0])).shape
        actions = (as_vectors(read_npz(file, "ta"), str(file)) for file in usable)
        self.info = DatasetInfo(
            format="procgen-npz",
            num_episodes=len(self._episodes),
            num_frames=sum(episode.length or 0 for episode in self._episodes),
            frame_shape=(height, width, channels),
            fps=1.0,
            action_spec=guess_spec(actions, str(path)),
            tasks=tuple(dict.fromkeys(task_of(file, path) for file in files)),
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        return set(any_shapes(path)) >= _KEYS

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(
                number,
                f"{name_of(e.file, self.path)}, rows from {e.first}",
                task_of(e.file, self.path),
                e.length,
                e.problem,
            )
            for number, e in enumerate(self._episodes)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: the file is damaged.
        """
        found = self._episodes[episode.index]
        if self._open is None or self._open.place != found.file:
            self._open = NpzRows(found.file, "obs")
        for frame in self._open.rows(found.first, self._length(found)):
            yield as_frame(frame, str(found.file))

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the file is damaged.
        """
        found = self._episodes[episode.index]
        length = self._length(found)
        rows = slice(found.first, found.first + length)
        rewards = read_npz(found.file, "rewards") if "rewards" in npz_shapes(found.file) else None
        return Columns(
            times=np.arange(length, dtype=np.float64),
            actions=as_vectors(read_npz(found.file, "ta"), str(found.file))[rows].astype(np.float32),
            rewards=None if rewards is None else rewards[rows].astype(np.float32),
        )

    @staticmethod
    def _length(found: _Episode) -> int:
        return len(_steps(found.file)) if found.length is None else found.length


def _episodes(file: Location) -> Iterator[_Episode]:
    try:
        done = _steps(file)
    except DataError as error:
        yield _Episode(file, 0, None, str(error))
        return
    first = 0
    for end in [*(np.flatnonzero(done) + 1).tolist(), len(done)]:
        if end > first:
            yield _Episode(file, first, end - first)
        first = end


def _steps(file: Location) -> np.ndarray:
    """Whether each step of a chunk was its episode's last."""
    if missing := _KEYS - set(npz_shapes(file)):
        raise DataError(f"{file} lacks the arrays {', '.join(sorted(missing))} of a Procgen chunk.")
    return read_npz(file, "done").astype(bool)

"""One npz file a trajectory, `video` (T, H, W, 3) and `actions` (T,), as TECO's DMLab data (Yan et al. 2023).

Actions may be missing. There is no clock: a step counts as a second. In TECO's DMLab data actions follow their frames.
"""

from collections.abc import Iterator

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, name_of, natural_order, task_of
from flexlam.data.npz import NpzRows, any_shapes, npz_shapes, read_npz
from flexlam.data.readers.columns import as_frame, as_vectors, guess_spec


class TrajectoryNpzReader:
    """Every trajectory below a folder, or a single one; the path of its folder is its task.

    A damaged file stays in the list and fails when it is read.

    Raises:
        DataError: there is no trajectory, or none that can be read.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path = path
        self._files = sorted(files_below(path, ".npz"), key=natural_order)
        shapes: dict[int, dict[str, tuple[int, ...]]] = {}
        self._problems: dict[int, str] = {}
        for number, file in enumerate(self._files):
            try:
                shapes[number] = npz_shapes(file)
                if "video" not in shapes[number]:
                    self._problems[number] = f"{file} has no array 'video'."
            except DataError as error:
                self._problems[number] = str(error)
        usable = [number for number in shapes if number not in self._problems]
        if not usable:
            problem = next(iter(self._problems.values()), "there is no npz file")
            raise DataError(f"{path} holds no npz file with an array 'video' ({problem}).")
        self._lengths = [shapes[n]["video"][0] if n in usable else None for n in range(len(self._files))]
        self._has_actions = all("actions" in shapes[number] for number in usable)
        first = self._files[usable[0]]
        height, width, channels = as_frame(next(NpzRows(first, "video").rows(0, 1)), str(first)).shape
        self.info = DatasetInfo(
            format="trajectory-npz",
            num_episodes=len(self._files),
            num_frames=sum(length or 0 for length in self._lengths),
            frame_shape=(height, width, channels),
            fps=1.0,
            action_spec=guess_spec((self._actions(n) for n in usable), str(path)) if self._has_actions else None,
            tasks=tuple(dict.fromkeys(task_of(file, self.path) for file in self._files)),
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        return "video" in any_shapes(path)

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(
                number, name_of(file, self.path), task_of(file, self.path), length, self._problems.get(number, "")
            )
            for number, (file, length) in enumerate(zip(self._files, self._lengths, strict=True))
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: the file is damaged.
        """
        file = self._files[episode.index]
        rows = NpzRows(file, "video")
        for frame in rows.rows(0, rows.shape[0]):
            yield as_frame(frame, str(file))

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the file is damaged, or has another number of actions than frames.
        """
        file = self._files[episode.index]
        length = npz_shapes(file).get("video", (0,))[0]
        actions = self._actions(episode.index).astype(np.float32) if self._has_actions else None
        if actions is not None and len(actions) != length:
            raise DataError(f"{file} holds {len(actions)} actions for {length} frames.")
        return Columns(times=np.arange(length, dtype=np.float64), actions=actions)

    def _actions(self, number: int) -> np.ndarray:
        return as_vectors(read_npz(self._files[number], "actions"), str(self._files[number]))

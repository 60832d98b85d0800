"""A folder of video files, or a single one: no actions, one episode a file."""

from collections.abc import Iterator

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data import video
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.guarded import Limits, Tell, guarded
from flexlam.data.location import Location, files_below, is_local, name_of, task_of

_LIMITS = Limits(seconds=30)
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")


class VideoFolderReader:
    """Every video below a folder, in the order of their paths; a subfolder's path is the task of its files.

    Damaged files stay in the list; they fail when their frames are asked for.

    Raises:
        DataError: there is no video, or none that can be opened.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path = path
        self._files = sorted(files_below(path, *SUFFIXES))
        if not self._files:
            raise DataError(f"{path} holds no video; expected files ending in {', '.join(SUFFIXES)}.")
        outcomes = sorted(
            guarded(_probe, self._files, _LIMITS, isolated=is_local(path)), key=lambda found: found.number
        )
        usable = [outcome.result for outcome in outcomes if outcome.error is None]
        if not usable:
            first = outcomes[0].error
            raise DataError(f"None of the {len(outcomes)} videos in {path} can be opened. The first: {first}")
        shape, fps = self._first_shape() or usable[0][0], usable[0][1]
        lengths = [length for _, _, length in usable]
        self._lengths = [None if outcome.error else outcome.result[2] for outcome in outcomes]
        self._problems = [str(outcome.error or "") for outcome in outcomes]
        self.info = DatasetInfo(
            format="video-folder",
            num_episodes=len(self._files),
            num_frames=None if None in lengths else sum(length or 0 for length in lengths),
            frame_shape=shape,
            fps=fps,
            action_spec=None,
            tasks=tuple(dict.fromkeys(task_of(file, self.path) for file in self._files)),
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        if (path / "meta" / "info.json").exists():
            return False
        return next(files_below(path, *SUFFIXES), None) is not None

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        rows = zip(self._files, self._lengths, self._problems, strict=True)
        return [
            EpisodeInfo(number, name_of(file, self.path), task_of(file, self.path), length, problem)
            for number, (file, length, problem) in enumerate(rows)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 in order, streamed.

        Raises:
            DataError: the file cannot be decoded.
        """
        return video.decode(self._files[episode.index])

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Times of the frames; a video has nothing else.

        Raises:
            DataError: the file cannot be read.
        """
        return Columns(times=video.frame_times(self._files[episode.index]))

    def _first_shape(self) -> tuple[int, int, int] | None:
        """Of the first frame that can be decoded: headers do not tell of turned videos."""
        for outcome in guarded(_first_shape, self._files, _LIMITS, isolated=is_local(self.path)):
            if outcome.error is None:
                shape: tuple[int, int, int] = outcome.result
                return shape
        return None


def _probe(file: Location, tell: Tell) -> tuple[tuple[int, int, int], float, int | None]:
    return video.probe(file)


def _first_shape(file: Location, tell: Tell) -> tuple[int, int, int]:
    height, width, channels = video.first_frame(file).shape
    return height, width, channels

"""A folder of video files, or a single one: no actions, one episode a file."""

import contextlib
from collections.abc import Iterator

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data import video
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, name_of, task_of

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
        probes = [self._probe(file) for file in self._files]
        usable = [probe for probe in probes if not isinstance(probe, DataError)]
        if not usable:
            raise DataError(f"None of the {len(probes)} videos in {path} can be opened. The first: {probes[0]}")
        shape, fps = self._first_shape() or usable[0][0], usable[0][1]
        lengths = [length for _, _, length in usable]
        self._lengths = [None if isinstance(probe, DataError) else probe[2] for probe in probes]
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
        rows = zip(self._files, self._lengths, strict=True)
        return [
            EpisodeInfo(i, name_of(file, self.path), task_of(file, self.path), length)
            for i, (file, length) in enumerate(rows)
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
        for file in self._files:
            with contextlib.suppress(DataError):
                height, width, channels = video.first_frame(file).shape
                return height, width, channels
        return None

    @staticmethod
    def _probe(file: Location) -> tuple[tuple[int, int, int], float, int | None] | DataError:
        try:
            return video.probe(file)
        except DataError as error:
            return error

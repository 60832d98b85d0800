"""A folder of video files, or a single one: no actions, one episode a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data import video
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")


class VideoFolderReader:
    """Every video below a folder, in the order of their paths; a subfolder's path is the task of its files.

    Damaged files stay in the list; they fail when their frames are asked for.

    Raises:
        DataError: there is no video, or none that can be opened.
    """

    info: DatasetInfo

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._files = sorted(_videos(self.path)) if self.path.is_dir() else [self.path]
        if not self._files or not self._files[0].is_file():
            raise DataError(f"{path} holds no video; expected files ending in {', '.join(SUFFIXES)}.")
        probes = [self._probe(file) for file in self._files]
        usable = [probe for probe in probes if not isinstance(probe, DataError)]
        if not usable:
            raise DataError(f"None of the {len(probes)} videos in {path} can be opened. The first: {probes[0]}")
        shape, fps, _ = usable[0]
        lengths = [length for _, _, length in usable]
        self._lengths = [None if isinstance(probe, DataError) else probe[2] for probe in probes]
        self.info = DatasetInfo(
            format="video-folder",
            num_episodes=len(self._files),
            num_frames=None if None in lengths else sum(length or 0 for length in lengths),
            frame_shape=shape,
            fps=fps,
            action_spec=None,
            tasks=tuple(dict.fromkeys(self._task(file) for file in self._files)),
        )

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a path looks like this format, without decoding."""
        if path.is_file():
            return path.suffix.lower() in SUFFIXES
        return not (path / "meta" / "info.json").exists() and next(_videos(path), None) is not None

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        rows = zip(self._files, self._lengths, strict=True)
        return [EpisodeInfo(i, self._name(file), self._task(file), length) for i, (file, length) in enumerate(rows)]

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

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix() if self.path.is_dir() else file.name

    def _task(self, file: Path) -> str:
        if not self.path.is_dir():
            return file.stem
        folder = file.parent.relative_to(self.path).as_posix()
        return folder if folder != "." else self.path.resolve().name

    @staticmethod
    def _probe(file: Path) -> tuple[tuple[int, int, int], float, int | None] | DataError:
        try:
            return video.probe(file)
        except DataError as error:
            return error


def _videos(path: Path) -> Iterator[Path]:
    videos = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return (file for file in videos if not file.name.startswith("."))

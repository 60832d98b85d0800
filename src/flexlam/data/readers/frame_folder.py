"""Folders of pictures: every folder that holds some is an episode, in the natural order of their names.

There are no actions and no clock: a step counts as a second unless a frame rate is given.
"""

from collections.abc import Iterator

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, natural_order, read_bytes, relative
from flexlam.data.pictures import SUFFIXES, decode_picture
from flexlam.data.readers.video_folder import SUFFIXES as VIDEO_SUFFIXES


class FrameFolderReader:
    """Every folder of pictures below a folder; the path of the folder above it is its task.

    Raises:
        DataError: there is no picture, or the first cannot be read.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path = path
        folders: dict[Location, list[Location]] = {}
        for file in files_below(path, *SUFFIXES):
            folders.setdefault(file.parent, []).append(file)
        if not folders:
            raise DataError(f"{path} holds no picture; expected files ending in {', '.join(SUFFIXES)}.")
        ordered = sorted(folders, key=lambda folder: natural_order(relative(folder, path)))
        self._episodes = [
            (folder, sorted(folders[folder], key=lambda file: natural_order(file.name))) for folder in ordered
        ]
        first = self._episodes[0][1][0]
        frame = decode_picture(read_bytes(first), None, str(first))
        height, width, channels = frame.shape
        self.info = DatasetInfo(
            format="frame-folder",
            num_episodes=len(self._episodes),
            num_frames=sum(len(files) for _, files in self._episodes),
            frame_shape=(height, width, channels),
            fps=1.0,
            action_spec=None,
            tasks=tuple(dict.fromkeys(self._task(folder) for folder in ordered)),
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        if not path.is_dir() or (path / "meta" / "info.json").exists():
            return False
        return any(files_below(path, *SUFFIXES)) and not any(files_below(path, *VIDEO_SUFFIXES))

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(number, relative(folder, self.path) or folder.name, self._task(folder), len(files))
            for number, (folder, files) in enumerate(self._episodes)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: a picture is damaged.
        """
        for file in self._episodes[episode.index][1]:
            yield decode_picture(read_bytes(file), self.info.frame_shape[2], str(file))

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Times, one second a step: pictures have nothing else."""
        return Columns(times=np.arange(len(self._episodes[episode.index][1]), dtype=np.float64))

    def _task(self, folder: Location) -> str:
        above = relative(folder, self.path).rpartition("/")[0]
        return above or self.path.absolute().name

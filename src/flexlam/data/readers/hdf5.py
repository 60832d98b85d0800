"""Episodes kept as arrays inside HDF5 files; what the layouts have in common."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import h5py
import numpy as np

from flexlam.core.errors import ConfigError, DataError
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, name_of, natural_order, opened
from flexlam.data.pictures import PICTURE_MAGIC, decode_picture
from flexlam.data.readers.columns import as_frame, as_vectors, guess_spec, is_pictures

SUFFIXES = (".hdf5", ".h5", ".hdf")
_FRAMES_AT_ONCE = 32


@dataclass(frozen=True)
class Hdf5Episode:
    """Where the arrays of an episode are."""

    file: Location
    group: str
    """Path of the episode's group; names of arrays are below it."""
    length: int | None
    """Number of steps, of frames with an action; None of a damaged file."""
    problem: str = ""
    """Why the file cannot be read."""


class Hdf5Reader:
    """Reads what a layout lists; the name of a file is the task of its episodes, and a damaged file is one of them.

    Raises:
        DataError: there is no episode with frames.
        ConfigError: there is no such camera.
    """

    format: str
    info: DatasetInfo

    @staticmethod
    def fits(content: h5py.File) -> bool:
        """Whether a file is in this layout."""
        raise NotImplementedError

    @staticmethod
    def groups(content: h5py.File) -> list[str]:
        """Paths of the groups that are episodes; each holds `actions`."""
        raise NotImplementedError

    @staticmethod
    def frequency(content: h5py.File) -> float | None:
        """Steps a second, where a file tells."""
        return None

    def __init__(self, path: Location, camera: str | None = None) -> None:
        self.path = path
        self._open: tuple[Location, h5py.File] | None = None
        self._episodes = [episode for file in sorted(_files(path), key=natural_order) for episode in self._list(file)]
        usable = [episode for episode in self._episodes if episode.length]
        if not usable:
            why = next((episode.problem for episode in self._episodes if episode.problem), "")
            raise DataError(f"{path} holds no usable episode in the layout {self.format}. {why}".rstrip())
        first = self._group(usable[0])
        cameras = tuple(sorted(_pictures(first)))
        if not cameras:
            raise DataError(
                f"{path}: {usable[0].group} holds no pictures: no array (T, H, W, 3) uint8, no picture files."
            )
        if camera is not None and camera not in cameras:
            raise ConfigError(f"{path} has no camera {camera!r}. Its cameras: {', '.join(cameras)}.")
        self.camera = camera or cameras[0]
        height, width, channels = _frame(first[self.camera][0], str(path)).shape
        frequency = self.frequency(self._open[1]) if self._open else None
        self.info = DatasetInfo(
            format=self.format,
            num_episodes=len(self._episodes),
            num_frames=sum(episode.length or 0 for episode in usable),
            frame_shape=(height, width, channels),
            fps=frequency or 1.0,
            action_spec=guess_spec((self._actions(episode) for episode in usable), str(path)),
            tasks=tuple(dict.fromkeys(self._task(episode) for episode in self._episodes)),
            cameras=cameras,
        )
        self._close()  # processes that are forked from this one must not share the place in the file

    @classmethod
    def recognises(cls, path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        for file in islice(_files(path), 16):
            with contextlib.suppress(DataError), open_hdf5(file) as content:
                return cls.fits(content)
        return False

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(
                number,
                f"{name_of(episode.file, self.path)}/{episode.group}".rstrip("/"),
                self._task(episode),
                episode.length,
                episode.problem,
            )
            for number, episode in enumerate(self._episodes)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed.

        Raises:
            DataError: the file is damaged.
        """
        found = self._episodes[episode.index]
        length = self._length(found)
        for start in range(0, length, _FRAMES_AT_ONCE):
            with explained(found.file):
                rows = self._group(found)[self.camera][start : min(start + _FRAMES_AT_ONCE, length)]
            for frame in rows:
                yield _frame(frame, f"{found.file}/{found.group}")

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: the file is damaged.
        """
        found = self._episodes[episode.index]
        length = self._length(found)
        with explained(found.file):
            group = self._group(found)
            rewards = group["rewards"][:length] if "rewards" in group else None
        if rewards is not None and len(rewards) != length:
            raise DataError(f"{found.file}/{found.group} holds {len(rewards)} rewards for {length} steps.")
        return Columns(
            times=np.arange(length) / self.info.fps,
            actions=self._actions(found).astype(np.float32),
            rewards=None if rewards is None else np.asarray(rewards, np.float32).reshape(length),
        )

    def _list(self, file: Location) -> list[Hdf5Episode]:
        try:
            with open_hdf5(file) as content, explained(file):
                groups = sorted(self.groups(content), key=natural_order)
                return [Hdf5Episode(file, group, len(content[group]["actions"])) for group in groups]
        except DataError as error:
            return [Hdf5Episode(file, "", None, str(error))]

    def _task(self, episode: Hdf5Episode) -> str:
        return episode.file.stem

    @staticmethod
    def _length(episode: Hdf5Episode) -> int:
        if episode.length is None:
            raise DataError(episode.problem)
        return episode.length

    def _actions(self, episode: Hdf5Episode) -> np.ndarray:
        with explained(episode.file):
            values = self._group(episode)["actions"][: episode.length]
        return as_vectors(values, f"{episode.file}/{episode.group}")

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
        self._open = None

    def _group(self, episode: Hdf5Episode) -> h5py.Group:
        """The group of an episode; one file at a time is open."""
        if self._open is None or self._open[0] != episode.file:
            self._close()
            self._open = (episode.file, open_hdf5(episode.file))
        with explained(episode.file):
            return self._open[1][episode.group]


def open_hdf5(file: Location) -> h5py.File:
    """The file, open for reading.

    Raises:
        DataError: it is no HDF5 file, or is damaged.
    """
    with explained(file):
        return h5py.File(opened(file), "r")


def _files(path: Location) -> Iterator[Location]:
    return files_below(path, *SUFFIXES)


@contextlib.contextmanager
def explained(file: Location) -> Iterator[None]:
    """h5py's errors as ours.

    Raises:
        DataError: the file cannot be read, or lacks something.
    """
    try:
        yield
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise DataError(f"{file} cannot be read ({error}). It is damaged or of another layout; replace it.") from error


def _pictures(group: h5py.Group) -> list[str]:
    """Paths of the arrays of pictures below a group; those of next observations are copies."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or "next_obs" in name:
            return
        if is_pictures(item.shape, item.dtype) or _are_encoded(item):
            found.append(name)

    group.visititems(visit)
    return found


def _are_encoded(array: h5py.Dataset) -> bool:
    """Whether rows are the bytes of picture files, as Minari writes them."""
    if h5py.check_vlen_dtype(array.dtype) != np.uint8 or array.ndim != 1 or not len(array):
        return False
    return bytes(array[0][:12]).startswith(PICTURE_MAGIC)


def _frame(row: np.ndarray, where: str) -> np.ndarray:
    """A row of pixels, or of the bytes of a picture file, as a frame (H, W, C)."""
    return decode_picture(row.tobytes(), None, where) if row.ndim == 1 else as_frame(row, where)

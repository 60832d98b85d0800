"""WebDataset tar shards: a sample is the files of one key.

A sample with a video (`KEY.mp4`) is an episode, its actions in `KEY.actions.npy` or under "actions" in `KEY.json`. A
sample with a picture (`KEY.jpg`) is a step, its action in `KEY.cls` or under "action" in `KEY.json`; successive steps
whose keys differ in the last number alone (`run3/000017`) are an episode, within a shard. The name of a shard's folder
is the task.
"""

import contextlib
import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data import video
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, name_of, natural_order, stream, task_of
from flexlam.data.pictures import SUFFIXES as PICTURES
from flexlam.data.pictures import decode_picture
from flexlam.data.readers.columns import as_vectors, guess_spec
from flexlam.data.readers.video_folder import SUFFIXES as VIDEOS


@dataclass(frozen=True)
class _Sample:
    key: str
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Offset and size in the shard of each of its files, by their endings (".jpg")."""

    def ending(self, among: tuple[str, ...]) -> str | None:
        """The first of its files whose ending is one of these."""
        return next((ending for ending in self.parts if ending.lower().endswith(among)), None)


@dataclass(frozen=True)
class _Episode:
    shard: Location
    name: str
    samples: tuple[_Sample, ...]
    """One with a video, or a step each; none of a damaged shard."""
    problem: str = ""

    @property
    def is_video(self) -> bool:
        return len(self.samples) == 1 and self.samples[0].ending(VIDEOS) is not None


class WebDatasetReader:
    """Every episode of the shards below a folder, or of a single one. A damaged shard is listed as one episode.

    Raises:
        DataError: there is no shard with videos or pictures.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path = path
        shards = sorted(files_below(path, ".tar"), key=natural_order)
        self._episodes = [episode for shard in shards for episode in _episodes(shard)]
        usable = [episode for episode in self._episodes if episode.samples]
        if not usable:
            why = next((episode.problem for episode in self._episodes), "")
            raise DataError(f"{path} holds no tar shard with videos or pictures. {why}".rstrip())
        shape, fps = self._look(usable)
        lengths = [self._length(episode) for episode in usable]
        actions = [self._actions(episode) for episode in usable]
        known = [found for found in actions if found is not None]
        self.info = DatasetInfo(
            format="webdataset",
            num_episodes=len(self._episodes),
            num_frames=None if None in lengths else sum(length or 0 for length in lengths),
            frame_shape=shape,
            fps=fps,
            action_spec=guess_spec(known, str(path)) if len(known) == len(actions) else None,
            tasks=tuple(dict.fromkeys(task_of(episode.shard, path) for episode in self._episodes)),
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        return next(files_below(path, ".tar"), None) is not None

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        return [
            EpisodeInfo(
                number,
                f"{name_of(episode.shard, self.path)}/{episode.name}".rstrip("/"),
                task_of(episode.shard, self.path),
                self._length(episode),
                episode.problem,
            )
            for number, episode in enumerate(self._episodes)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, C) uint8 in order, streamed; a video's file is in memory, encoded.

        Raises:
            DataError: a file is damaged.
        """
        found = self._found(episode)
        with stream(found.shard) as shard:
            if found.is_video:
                yield from video.decode(self._video(shard, found), name=f"{found.shard}/{found.name}")
                return
            for sample in found.samples:
                where = f"{found.shard}/{sample.key}"
                data = _read(shard, sample, sample.ending(PICTURES))
                yield decode_picture(data, self.info.frame_shape[2], where)

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames.

        Raises:
            DataError: a file is damaged.
        """
        found = self._found(episode)
        if found.is_video:
            with stream(found.shard) as shard:
                times = video.frame_times(self._video(shard, found), name=f"{found.shard}/{found.name}")
        else:
            times = np.arange(len(found.samples), dtype=np.float64)
        actions = self._actions(found) if self.info.action_spec else None
        return Columns(times=times, actions=None if actions is None else actions.astype(np.float32))

    def _found(self, episode: EpisodeInfo) -> _Episode:
        found = self._episodes[episode.index]
        if not found.samples:
            raise DataError(found.problem)
        return found

    def _look(self, episodes: list[_Episode]) -> tuple[tuple[int, int, int], float]:
        """Frame shape and frames a second of the first episode that can be opened."""
        problem = ""
        for episode in episodes:
            try:
                with stream(episode.shard) as shard:
                    if episode.is_video:
                        shape, fps, _ = video.probe(self._video(shard, episode), name=f"{episode.shard}/{episode.name}")
                        return shape, fps
                    data = _read(shard, episode.samples[0], episode.samples[0].ending(PICTURES))
                    height, width, channels = decode_picture(data, None, f"{episode.shard}/{episode.name}").shape
                    return (height, width, channels), 1.0
            except DataError as error:
                problem = problem or str(error)
        raise DataError(f"No episode of {self.path} can be opened. The first: {problem}")

    @staticmethod
    def _length(episode: _Episode) -> int | None:
        return len(episode.samples) if episode.samples and not episode.is_video else None

    @staticmethod
    def _video(shard: Any, episode: _Episode) -> io.BytesIO:
        sample = episode.samples[0]
        return io.BytesIO(_read(shard, sample, sample.ending(VIDEOS)))

    @staticmethod
    def _actions(episode: _Episode) -> np.ndarray | None:
        """Actions (T, A), or None where the episode has none."""
        where = f"{episode.shard}/{episode.name}"
        with stream(episode.shard) as shard:
            if episode.is_video:
                return _actions_of_video(shard, episode.samples[0], where)
            found = [_action_of_step(shard, sample, where) for sample in episode.samples]
        return None if any(action is None for action in found) else as_vectors(found, where)


def _actions_of_video(shard: Any, sample: _Sample, where: str) -> np.ndarray | None:
    if ".actions.npy" in sample.parts:
        try:
            return as_vectors(np.load(io.BytesIO(_read(shard, sample, ".actions.npy")), allow_pickle=False), where)
        except (ValueError, OSError) as error:
            raise DataError(f"{where}.actions.npy cannot be read ({error}).") from error
    about = _json(shard, sample, where)
    return as_vectors(about["actions"], where) if "actions" in about else None


def _action_of_step(shard: Any, sample: _Sample, where: str) -> Any:
    if ".cls" in sample.parts:
        try:
            return int(_read(shard, sample, ".cls"))
        except ValueError as error:
            raise DataError(f"{where}: {sample.key}.cls holds no whole number.") from error
    return _json(shard, sample, where).get("action")


def _json(shard: Any, sample: _Sample, where: str) -> dict[str, Any]:
    if ".json" not in sample.parts:
        return {}
    try:
        values = json.loads(_read(shard, sample, ".json"))
    except ValueError as error:
        raise DataError(f"{where}: {sample.key}.json is no JSON ({error}).") from error
    return values if isinstance(values, dict) else {}


def _read(shard: Any, sample: _Sample, ending: str | None) -> bytes:
    offset, size = sample.parts[ending or ""]
    shard.seek(offset)
    data: bytes = shard.read(size)
    return data


def _episodes(shard: Location) -> list[_Episode]:
    try:
        samples = list(_samples(shard))
    except (tarfile.TarError, OSError, EOFError) as error:
        return [_Episode(shard, "", (), f"{shard} cannot be read ({error}). Replace or remove it.")]
    found: list[_Episode] = []
    steps: dict[str, list[_Sample]] = {}
    for sample in samples:
        if sample.ending(VIDEOS):
            found.append(_Episode(shard, sample.key, (sample,)))
        elif sample.ending(PICTURES):
            steps.setdefault(re.sub(r"[-_/.]?\d+$", "", sample.key), []).append(sample)
    return found + [_Episode(shard, name, tuple(members)) for name, members in steps.items()]


def _samples(shard: Location) -> Iterator[_Sample]:
    """Files in the order of the shard, gathered by their keys: the path up to the first dot of the name."""
    last: _Sample | None = None
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(tarfile.open(fileobj=stack.enter_context(stream(shard)), mode="r:"))
        for member in archive:
            folder, slash, name = member.name.rpartition("/")
            if not member.isfile() or name.startswith("."):
                continue
            stem, dot, ending = name.partition(".")
            key = f"{folder}{slash}{stem}"
            if last is None or last.key != key:
                if last is not None:
                    yield last
                last = _Sample(key)
            last.parts[dot + ending.lower()] = (member.offset_data, member.size)
    if last is not None:
        yield last

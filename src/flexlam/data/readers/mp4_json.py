"""Recordings of FlexLAM's authors: NAME.mp4 with NAME.json.gz (or .json) beside it, a folder per task.

The JSON holds `action`, `reward`, `episode_length` and `reward_sum`; actions are indices, vectors or one-hot rows. The
recorder writes a frame with the action that led to it, so actions precede their frames.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import DataError
from flexlam.data import video
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.location import Location, files_below, read_bytes, relative, task_of
from flexlam.data.readers.columns import as_vectors, guess_spec, is_one_hot

_SIDE = (".json.gz", ".json")


class Mp4JsonReader:
    """Every mp4 file with its JSON, in the order of their paths.

    Raises:
        DataError: there is no such pair, or no pair can be read.
    """

    info: DatasetInfo

    def __init__(self, path: Location) -> None:
        self.path = path
        self._files = sorted(_pairs(path))
        if not self._files:
            raise DataError(f"{path} holds no mp4 file with a .json.gz of the same name beside it.")
        sides: dict[int, np.ndarray] = {}
        self._problems: dict[int, str] = {}
        for number, (_, side) in enumerate(self._files):
            try:
                sides[number] = self._actions(side)
            except DataError as error:
                self._problems[number] = str(error)
        if not sides:
            problem = self._problems[0]
            raise DataError(f"None of the {len(self._files)} recordings in {path} can be read. The first: {problem}")
        self._one_hot = all(is_one_hot(actions) for actions in sides.values())
        shape, fps, _ = video.probe(self._files[next(iter(sides))][0])
        self._lengths = [len(sides[number]) if number in sides else None for number in range(len(self._files))]
        self.info = DatasetInfo(
            format="mp4-json",
            num_episodes=len(self._files),
            num_frames=sum(len(actions) for actions in sides.values()),
            frame_shape=shape,
            fps=fps,
            action_spec=self._spec(list(sides.values())),
            tasks=tuple(dict.fromkeys(task_of(file, self.path) for file, _ in self._files)),
            action_timing="precedes",
        )

    @staticmethod
    def recognises(path: Location) -> bool:
        """Whether a path looks like this format, without decoding."""
        return path.is_dir() and not (path / "meta" / "info.json").exists() and next(_pairs(path), None) is not None

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode, in order."""
        rows = zip(self._files, self._lengths, strict=True)
        return [
            EpisodeInfo(
                number, relative(file, self.path), task_of(file, self.path), length, self._problems.get(number, "")
            )
            for number, ((file, _), length) in enumerate(rows)
        ]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 in order, streamed.

        Raises:
            DataError: the file cannot be decoded.
        """
        return video.decode(self._files[episode.index][0])

    def columns(self, episode: EpisodeInfo) -> Columns:
        """Everything but the frames; action t led to frame t.

        Raises:
            DataError: the files cannot be read or do not belong together.
        """
        file, side = self._files[episode.index]
        times, actions, rewards = video.frame_times(file), self._actions(side), _load(side).get("reward")
        for name, values in (("actions", actions), ("rewards", rewards)):
            if values is not None and len(values) != len(times):
                raise DataError(f"{side} holds {len(values)} {name} for the {len(times)} frames of {file.name}.")
        if self._one_hot:
            actions = actions.argmax(1)[:, None]
        return Columns(
            times=times,
            actions=actions.astype(np.float32),
            rewards=None if rewards is None else np.asarray(rewards, np.float32).reshape(len(times)),
        )

    def _spec(self, episodes: list[np.ndarray]) -> ActionSpec:
        if self._one_hot:
            return ActionSpec(num_choices=(episodes[0].shape[1],))
        return guess_spec(episodes, str(self.path))

    @staticmethod
    def _actions(side: Location) -> np.ndarray:
        recorded = _load(side)
        if "action" not in recorded:
            raise DataError(f"{side} has no key 'action', only {', '.join(recorded)}.")
        return as_vectors(recorded["action"], str(side))


def _pairs(path: Location) -> Iterator[tuple[Location, Location]]:
    for file in files_below(path, ".mp4") if path.is_dir() else ():
        side = next((other for end in _SIDE if (other := file.with_name(file.stem + end)).exists()), None)
        if side is not None:
            yield file, side


def _load(side: Location) -> dict[str, Any]:
    data = read_bytes(side)
    try:
        values = json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{side} is no JSON, or is damaged ({error}). Replace or remove it and its video.") from error
    if not isinstance(values, dict):
        raise DataError(f"{side} holds no JSON object. Replace or remove it and its video.")
    return values

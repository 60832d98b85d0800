"""The frame store: the training cache of a dataset, built once, read at random.

A folder with frames in memory-mapped shards, index.parquet (episode, step, time, action_0 ..., reward,
extras.NAME ...), episodes.parquet, and manifest.json, which is written last.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from flexlam.core.action import ActionSpec
from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.files import content_hash
from flexlam.data.extras import COLUMN, LazyExtras, digests, with_extras
from flexlam.data.parts import EpisodeDigest
from flexlam.data.shards import Codec, ShardInfo, ShardReader

FORMAT = "flexlam-frame-store"
FORMAT_VERSION = 2
MANIFEST, INDEX, EPISODES = "manifest.json", "index.parquet", "episodes.parquet"


class Manifest(Config):
    """What manifest.json says of a store."""

    format: str
    format_version: int
    content_hash: str
    num_frames: int
    num_episodes: int
    frame_shape: tuple[int, int, int]
    fps: float
    codec: Codec
    action_spec: ActionSpec | None
    has_rewards: bool
    shards: tuple[ShardInfo, ...]
    source: dict[str, str]
    fit: str = "stretch"
    """How frames of another shape were brought to this one (data/parts.py)."""
    extras: dict[str, int] = Field(default_factory=dict)
    """Names of the extras, and how many numbers a frame each has."""


@dataclass(frozen=True)
class EpisodeTable:
    """The episodes of a store; episode i holds the frames starts[i] .. starts[i] + lengths[i] - 1."""

    names: tuple[str, ...]
    tasks: tuple[str, ...]
    source_index: np.ndarray
    """(E,) int64, its number in the dataset the store was built from."""
    starts: np.ndarray
    """(E,) int64."""
    lengths: np.ndarray
    """(E,) int64."""

    def __len__(self) -> int:
        return len(self.names)


def hash_of_episodes(digests: Sequence[str]) -> str:
    """Content hash of a store: of the hashes of its episodes in their order."""
    return content_hash("\n".join(digests).encode())


class FrameStore:
    """A store on disk. Opening reads the manifest and the list of episodes; frames are mapped when asked for.

    Raises:
        DataError: the folder is no store, is damaged or truncated, or has another format version.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        self.num_frames, self.num_episodes = self.manifest.num_frames, self.manifest.num_episodes
        self.frame_shape, self.fps = self.manifest.frame_shape, self.manifest.fps
        self.action_spec, self.content_hash = self.manifest.action_spec, self.manifest.content_hash
        self.episodes = self._read_episodes()
        self.tasks = tuple(dict.fromkeys(self.episodes.tasks))
        self._shards = ShardReader(self.path, self.manifest.shards, self.manifest.codec, self.frame_shape)
        self._check_counts()

    @classmethod
    def open(cls, path: Path) -> "FrameStore":
        """Open a store.

        Raises:
            DataError: the folder is no store, is damaged or truncated, or has another format version.
        """
        return cls(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return FrameStore, (self.path,)

    @property
    def members(self) -> "tuple[FrameStore, ...]":
        """The stores whose frames these are: itself; several, of a mixture."""
        return (self,)

    @property
    def weights(self) -> tuple[float, ...]:
        """How the transitions of a batch are divided among the members."""
        return (1.0,)

    @property
    def fit(self) -> str:
        """How frames of another shape were brought to this one (data/parts.py)."""
        return self.manifest.fit

    @property
    def rates(self) -> tuple[float, ...]:
        """Frames a second of the members, each rate once, ascending."""
        return (self.fps,)

    def about(self) -> dict[str, Any]:
        """What only a store has to tell; plain JSON values."""
        about = {"format": "frame store", "codec": self.manifest.codec, "content_hash": self.content_hash}
        extras = {"extras": self.manifest.extras} if self.manifest.extras else {}
        return about | extras | {"source": self.manifest.source}

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """Frames (N, H, W, C) uint8 at positions (N,), in any order.

        Raises:
            DataError: a position is outside 0 .. num_frames - 1, or its frame is damaged.
        """
        return self._shards.gather(self._checked(indices))

    @cached_property
    def times(self) -> np.ndarray:
        """(num_frames,) float64, seconds since the start of each episode."""
        return self._column("time")

    @cached_property
    def actions(self) -> np.ndarray | None:
        """(num_frames, A) float32, or None.

        Raises:
            DataError: an action is not finite or no choice; the store was damaged after it was built.
        """
        if self.action_spec is None:
            return None
        columns = [self._column(f"action_{i}") for i in range(self.action_spec.num_dims)]
        actions = np.stack(columns, axis=1).astype(np.float32, copy=False)
        self.action_spec.check(actions, str(self.path))
        return actions

    @cached_property
    def rewards(self) -> np.ndarray | None:
        """(num_frames,) float32, or None."""
        return self._column("reward") if self.manifest.has_rewards else None

    @cached_property
    def extras(self) -> Mapping[str, np.ndarray]:
        """Exact states by name, (num_frames, n) float32 each, read when asked for; empty where none were recorded.

        Names that worlds use: core/extras.py.
        """
        return LazyExtras(sorted(self.manifest.extras), self._extra)

    def verify(self) -> None:
        """Read everything and compare with the content hash.

        Raises:
            DataError: the content is not what was written.
        """
        lossy = self.manifest.codec == "jpeg"
        found = []
        for task, start, length in zip(self.episodes.tasks, self.episodes.starts, self.episodes.lengths, strict=True):
            digest = EpisodeDigest(task)
            for index in range(start, start + length):
                data = self._shards.stored_bytes(index) if lossy else self.frames(np.array([index])).tobytes()
                digest.add_frame(data)
            rows = slice(start, start + length)
            actions = None if self.actions is None else self.actions[rows]
            rewards = None if self.rewards is None else self.rewards[rows]
            extras = digests({name: values[rows] for name, values in self.extras.items()})
            found.append(with_extras(digest.finish(self.times[rows], actions, rewards), extras))
        whole = hash_of_episodes(found)
        if whole != self.content_hash:
            raise DataError(
                f"{self.path} is damaged: its content hashes to {whole}; "
                f"the manifest says {self.content_hash}. Build the frame store again."
            )

    def _checked(self, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= self.num_frames):
            raise DataError(
                f"{self.path}: frame positions {indices.min()} .. {indices.max()} were asked for; "
                f"expected 0 .. {self.num_frames - 1}."
            )
        return indices

    def _column(self, name: str) -> np.ndarray:
        try:
            values: np.ndarray = pq.read_table(self.path / INDEX, columns=[name])[name].to_numpy()
            return values
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _damaged(self.path / INDEX, error) from error

    def _extra(self, name: str) -> np.ndarray:
        try:
            column = pq.read_table(self.path / INDEX, columns=[COLUMN + name])[COLUMN + name].combine_chunks()
            values: np.ndarray = column.flatten().to_numpy().reshape(self.num_frames, self.manifest.extras[name])
            return values
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _damaged(self.path / INDEX, error) from error

    def _read_episodes(self) -> EpisodeTable:
        path = self.path / EPISODES
        try:
            table = pq.read_table(path)
            starts, lengths = table["start"].to_numpy(), table["length"].to_numpy()
            names, tasks = table["name"].to_pylist(), table["task"].to_pylist()
            return EpisodeTable(tuple(names), tuple(tasks), table["source_index"].to_numpy(), starts, lengths)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _damaged(path, error) from error

    def _check_counts(self) -> None:
        try:
            num_rows = pq.read_metadata(self.path / INDEX).num_rows
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path / INDEX, error) from error
        counts = {
            "the shards": sum(shard.num_frames for shard in self.manifest.shards),
            "the index": num_rows,
            "the list of episodes": int(self.episodes.lengths.sum()),
        }
        for what, count in counts.items():
            if count != self.num_frames or len(self.episodes) != self.num_episodes:
                raise DataError(
                    f"{self.path} does not fit together: {what} holds {count} frames in {len(self.episodes)} "
                    f"episodes; the manifest says {self.num_frames} in {self.num_episodes}. "
                    "Build the frame store again."
                )


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    if not file.is_file():
        what = f"{path} holds no {MANIFEST}" if path.exists() else f"There is nothing at {path}"
        raise DataError(
            f"{what}; expected a frame store. Build one from a dataset with: "
            f"flexlam data convert {path if path.exists() else 'DATASET'} --out STORE"
        )
    try:
        values = json.loads(file.read_text())
        version = values["format_version"] if values["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(file, error) from error
    if version is None:
        raise DataError(f"{file} belongs to a {values['format']!r}, not to a frame store ({FORMAT!r}).")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} is a frame store of format version {version}; version {FORMAT_VERSION} is supported. "
            "Build it again from its dataset."
        )
    try:
        return Manifest.parse(values, where=str(file))
    except ConfigError as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: BaseException) -> DataError:
    return DataError(f"{file} is missing or damaged ({error}). Build the frame store again.")

"""Several frame stores read as one, each with a sampling weight (FlexLAM App. E.1).

A mixture is a folder with mixture.json, which names stores by their path from that folder. Nothing is copied.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.files import atomic_folder, check_output_folder, content_hash
from flexlam.data.extras import LazyExtras, common
from flexlam.data.location import Location, is_local
from flexlam.data.store import MANIFEST, EpisodeTable, FrameStore

FORMAT = "flexlam-mixture"
FORMAT_VERSION = 1
MIXTURE = "mixture.json"


class Ingredient(Config):
    """One store of a mixture."""

    name: str = Field(min_length=1)
    """Stands before the names of its tasks and episodes."""
    path: str
    """From the mixture's folder, with forward slashes; or absolute."""
    content_hash: str
    """Of the store when the mixture was made."""
    weight: float = Field(gt=0)
    """Transitions of a batch are divided in these ratios."""


class MixtureRecord(Config):
    """What mixture.json says."""

    format: str
    format_version: int
    stores: tuple[Ingredient, ...] = Field(min_length=1)


class Mixture(FrameStore):
    """Stores read as one, one after the other. Tasks and episodes are called NAME/...

    It has actions where all its stores have them, and the same ones; rewards likewise, and extras of one width.

    Raises:
        DataError: the folder is no mixture, or a store is missing, was built anew, or has frames of another shape.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.record = _read_record(self.path)
        self._members = tuple(_open_ingredient(self.path, item) for item in self.record.stores)
        self._check_shapes()
        first = self._members[0]
        specs = [store.action_spec for store in self._members]
        self.frame_shape = first.frame_shape
        self.action_spec = specs[0] if all(spec == specs[0] for spec in specs) else None
        self.fps = min(store.fps for store in self._members)
        self.num_frames = sum(store.num_frames for store in self._members)
        self.num_episodes = sum(store.num_episodes for store in self._members)
        self.episodes = self._join_episodes()
        self.tasks = tuple(dict.fromkeys(self.episodes.tasks))
        stores = [(item.name, item.weight, item.content_hash) for item in self.record.stores]
        self.content_hash = content_hash(json.dumps([FORMAT, *stores]).encode())
        self._first_frames = np.cumsum([0, *(store.num_frames for store in self._members)])

    def __reduce__(self) -> tuple[Any, ...]:
        return Mixture, (self.path,)

    @property
    def members(self) -> tuple[FrameStore, ...]:
        """The stores, in order."""
        return self._members

    @property
    def weights(self) -> tuple[float, ...]:
        """How the transitions of a batch are divided among the stores."""
        return tuple(item.weight for item in self.record.stores)

    @property
    def fit(self) -> str:
        """How frames of another shape were brought to this one, in the first store."""
        return self._members[0].fit

    @property
    def rates(self) -> tuple[float, ...]:
        """Frames a second of the stores, each rate once, ascending."""
        return tuple(sorted({rate for store in self._members for rate in store.rates}))

    def about(self) -> dict[str, Any]:
        """What only a mixture has to tell."""
        shares = np.array(self.weights) / sum(self.weights)
        stores = {
            item.name: {"share": float(share), "num_frames": store.num_frames, "fps": store.fps, "fit": store.fit}
            for item, share, store in zip(self.record.stores, shares, self._members, strict=True)
        }
        return {"format": "mixture", "content_hash": self.content_hash, "stores": stores}

    def frames(self, indices: np.ndarray) -> np.ndarray:
        """Frames (N, H, W, C) uint8 at positions (N,), in any order.

        Raises:
            DataError: a position is outside 0 .. num_frames - 1, or its frame is damaged.
        """
        indices = self._checked(indices)
        owner = np.searchsorted(self._first_frames, indices, side="right") - 1
        frames = np.empty((len(indices), *self.frame_shape), np.uint8)
        for number in np.unique(owner):
            mine = owner == number
            frames[mine] = self._members[number].frames(indices[mine] - self._first_frames[number])
        return frames

    @cached_property
    def times(self) -> np.ndarray:
        """(num_frames,) float64, seconds since the start of each episode."""
        return np.concatenate([store.times for store in self._members])

    @cached_property
    def actions(self) -> np.ndarray | None:
        """(num_frames, A) float32, or None.

        Raises:
            DataError: a store was damaged after it was built.
        """
        if self.action_spec is None:
            return None
        return np.concatenate([store.actions for store in self._members if store.actions is not None])

    @cached_property
    def rewards(self) -> np.ndarray | None:
        """(num_frames,) float32, or None."""
        rewards = [store.rewards for store in self._members]
        return None if any(r is None for r in rewards) else np.concatenate([r for r in rewards if r is not None])

    @cached_property
    def extras(self) -> Mapping[str, np.ndarray]:
        """Exact states by name, (num_frames, n) float32: those that all stores have at one width, and no others."""
        named = zip(self.record.stores, self._members, strict=True)
        widths = [(item.name, store.manifest.extras) for item, store in named]
        return LazyExtras(list(common(widths)[0]), self._extra)

    def _extra(self, name: str) -> np.ndarray:
        return np.concatenate([store.extras[name] for store in self._members])

    def verify(self) -> None:
        """Read every store and compare with its content hash.

        Raises:
            DataError: the content is not what was written.
        """
        for store in self._members:
            store.verify()

    def _check_shapes(self) -> None:
        if len({store.frame_shape for store in self._members}) > 1:
            named = zip(self.record.stores, self._members, strict=True)
            shapes = (f"{item.name} {' x '.join(map(str, store.frame_shape))}" for item, store in named)
            raise DataError(
                f"The stores of a mixture hold frames of different shapes: {', '.join(shapes)}. "
                "Convert their datasets with one --frame-size."
            )

    def _join_episodes(self) -> EpisodeTable:
        named = list(zip([item.name for item in self.record.stores], self._members, strict=True))
        first_frames = np.cumsum([0, *(store.num_frames for store in self._members[:-1])])
        starts = [store.episodes.starts + first for store, first in zip(self._members, first_frames, strict=True)]
        return EpisodeTable(
            names=tuple(f"{name}/{episode}" for name, store in named for episode in store.episodes.names),
            tasks=tuple(f"{name}/{task}" for name, store in named for task in store.episodes.tasks),
            source_index=np.concatenate([store.episodes.source_index for store in self._members]),
            starts=np.concatenate(starts),
            lengths=np.concatenate([store.episodes.lengths for store in self._members]),
        )


def mix(
    stores: Sequence[Path],
    out: Path,
    weights: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Mixture:
    """Write OUT/mixture.json. Weights are the stores' numbers of frames by default, names their folders'.

    Raises:
        ConfigError: weights or names that do not fit the stores, equal names, or a mixture of mixtures.
        DataError: a store cannot be used, or frames have different shapes.
        OutputError: OUT holds something else, or cannot be written.
    """
    if not stores:
        raise ConfigError("Name the stores of the mixture: flexlam data mix STORE STORE --out MIXTURE")
    if weights is not None and any(weight <= 0 for weight in weights):
        raise ConfigError(f"The weights are {', '.join(f'{w:g}' for w in weights)}; each has to be above 0.")
    names = [store.resolve().name for store in stores] if names is None else names
    for what, given in (("--weights", weights), ("--names", names)):
        if given is not None and len(given) != len(stores):
            raise ConfigError(f"{what} has {len(given)} value(s) for {len(stores)} store(s); give one for each.")
    if len(set(names)) < len(names) or any("/" in name for name in names):
        raise ConfigError(f"The stores are called {', '.join(names)}; give them different --names, without a slash.")
    mixed = [str(path) for path in stores if (path / MIXTURE).is_file()]
    if mixed:
        raise ConfigError(f"{', '.join(mixed)} is a mixture itself; name the stores that it is made of.")
    if any(path.resolve().is_relative_to(out.resolve()) for path in stores):
        raise ConfigError(f"{out} holds a store of the mixture; choose another --out folder.")
    opened = [FrameStore.open(path) for path in stores]
    weights = [float(store.num_frames) for store in opened] if weights is None else weights
    ingredients = [
        {"name": name, "path": _from(out, store.path), "content_hash": store.content_hash, "weight": weight}
        for name, store, weight in zip(names, opened, weights, strict=True)
    ]
    values = {"format": FORMAT, "format_version": FORMAT_VERSION, "stores": ingredients}
    record = MixtureRecord.parse(values, where="the mixture")
    check_output_folder(out, overwrite)
    with atomic_folder(out) as folder:
        record.save(folder / MIXTURE)
        Mixture(folder)  # beside OUT, so that paths from here are paths from there
    return Mixture(out)


def is_store(place: Location) -> bool:
    """Whether a location is a frame store or a mixture of them."""
    return is_local(place) and any((place / name).is_file() for name in (MANIFEST, MIXTURE))


def open_frames(path: Path) -> FrameStore:
    """Open a frame store or a mixture of them.

    Raises:
        DataError: the folder is neither, or is damaged.
    """
    return Mixture(path) if (path / MIXTURE).is_file() else FrameStore.open(path)


def _from(folder: Path, store: Path) -> str:
    try:
        return Path(os.path.relpath(store.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return store.resolve().as_posix()


def _open_ingredient(folder: Path, item: Ingredient) -> FrameStore:
    place = Path(os.path.normpath(folder.resolve() / item.path))
    try:
        store = FrameStore.open(place)
    except DataError as error:
        raise DataError(
            f"The store {item.name} of the mixture {folder} cannot be used: {error} If it lies elsewhere now, put "
            "it back (paths are kept from the mixture's folder), or make the mixture again: flexlam data mix"
        ) from error
    if store.content_hash != item.content_hash:
        raise DataError(
            f"{store.path} has the content hash {store.content_hash}; the mixture {folder} was made when it had "
            f"{item.content_hash}. Make the mixture again: flexlam data mix ... --out {folder} --overwrite"
        )
    return store


def _read_record(folder: Path) -> MixtureRecord:
    file = folder / MIXTURE
    try:
        record = MixtureRecord.parse(json.loads(file.read_text()), where=str(file))
    except (OSError, ValueError, ConfigError) as error:
        raise DataError(f"{file} is missing or damaged ({error}). Make it again: flexlam data mix") from error
    if (record.format, record.format_version) != (FORMAT, FORMAT_VERSION):
        raise DataError(
            f"{file} is a {record.format!r} of version {record.format_version}; {FORMAT!r} of version "
            f"{FORMAT_VERSION} is supported. Make it again: flexlam data mix"
        )
    return record

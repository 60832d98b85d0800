"""Which transitions a run trains, chooses and tests on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import DataError
from flexlam.data.loader import BatchSampler, WeightedSampler
from flexlam.data.mixture import open_frames
from flexlam.data.parts import FrameFit
from flexlam.data.splits import split_episodes
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.data.twins import check_twins


class PairConfig(Config):
    """How transitions are taken from a frame store."""

    gap_steps: int = Field(default=1, ge=1)
    """Steps between the two frames of a transition."""
    gap_seconds: float | None = Field(default=None, gt=0)
    """Seconds between them; when set, it takes the place of the gap in steps."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the episodes for training, validation and test."""
    split_seed: int = 0
    """Which episodes go where."""


class FrameRecord(Config):
    """How a model's training frames were made and paired: what encoding other data has to do, too."""

    fps: float | None = Field(default=None, gt=0)
    """Frames a second of its store; None of models that do not tell, or whose stores differ."""
    fit: FrameFit = "stretch"
    """How frames of another shape were brought to the model's."""

    @classmethod
    def of(cls, store: FrameStore) -> "FrameRecord":
        """Of a store."""
        fps = store.fps if len(store.rates) == 1 else None
        return cls.parse({"fps": fps, "fit": store.fit}, where=str(store.path))


@dataclass(frozen=True)
class SplitPairs:
    """Transitions of the three sets of episodes; no episode is in two."""

    store: FrameStore
    train: TransitionIndex
    validation: TransitionIndex
    test: TransitionIndex
    in_seconds: bool = False
    """Whether the gap is one in seconds."""

    def describe(self) -> str:
        """How many episodes and transitions are in each set."""
        sets = (("training", self.train), ("validation", self.validation), ("test", self.test))
        counts = (f"{name} {len(set(x.episode.tolist())):,} episodes ({len(x):,} transitions)" for name, x in sets)
        told = f"{', '.join(counts)}; every task has an episode in each set where it has three."
        return " ".join([told, *self._differences()])

    def sampler(self, batch_size: int, seed: int) -> BatchSampler | WeightedSampler:
        """Batches of training transitions; from the stores of a mixture in the ratios of their weights.

        Raises:
            DataError: a store of a mixture has nothing to train on.
        """
        members = self.store.members
        if len(members) == 1:
            return BatchSampler(len(self.train), batch_size, seed)
        first_episodes = np.cumsum([store.num_episodes for store in members])
        owner = np.searchsorted(first_episodes, self.train.episode, side="right")
        groups = [np.flatnonzero(owner == number) for number in range(len(members))]
        for store, group in zip(members, groups, strict=True):
            if not len(group):
                raise DataError(
                    f"{store.path} has no training transition with this gap; leave it out of {self.store.path}."
                )
        return WeightedSampler(groups, self.store.weights, batch_size, seed)

    def _differences(self) -> Iterator[str]:
        """In what the stores of a mixture differ."""
        rates, fits = self.store.rates, list(dict.fromkeys(store.fit for store in self.store.members))
        if not self.in_seconds and len(rates) > 1:
            yield (
                f"The stores have {rates[0]:g} to {rates[-1]:g} frames a second, so a step lasts {1 / rates[-1]:.2g} "
                f"to {1 / rates[0]:.2g} seconds; --pairs.gap-seconds makes transitions alike."
            )
        if len(fits) > 1:
            yield (
                f"The stores' frames were brought to their size in several ways ({', '.join(fits)}); encoding other "
                f"data takes the first, {fits[0]}, unless --fit says otherwise."
            )


def load_pairs(data: Path, config: PairConfig, frame_shape: tuple[int, int, int] | None = None) -> SplitPairs:
    """Open a frame store or mixture and list its transitions; `frame_shape` is that of the model which will read them.

    Raises:
        DataError: no usable store, frames of another shape, or no transitions in one of the sets.
    """
    store = open_store(data, frame_shape)
    splits = split_episodes(store, config.split, config.split_seed)
    chosen = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    for share, (name, episodes) in zip(config.split, chosen.items(), strict=True):
        if not episodes:
            raise DataError(
                f"{data} has {store.num_episodes} episode(s), which leaves none for {name} (a share of {share:g}). "
                "Record more or add some (three at least; long videos can be cut), or give pairs.split other shares "
                "(--pairs.split)."
            )
    steps = 1 if config.gap_seconds else config.gap_steps
    train, validation, test = (TransitionIndex.build(store, steps, config.gap_seconds, e) for e in chosen.values())
    return SplitPairs(store, train, validation, test, config.gap_seconds is not None)


def open_store(data: Path, frame_shape: tuple[int, int, int] | None = None) -> FrameStore:
    """Open a frame store or a mixture; `frame_shape` is that of the model which will read it.

    Raises:
        DataError: no usable store, or frames of another shape.
    """
    store = open_frames(data)
    if frame_shape is not None and tuple(store.frame_shape) != tuple(frame_shape):
        raise DataError(
            f"{data} holds frames of {_times(store.frame_shape)}; the model was trained on {_times(frame_shape)}. "
            "Build the store again with: flexlam data convert DATASET --out STORE "
            f"--frame-size {frame_shape[0]} {frame_shape[1]}"
        )
    return store


def open_twin(data: Path, store: FrameStore) -> FrameStore:
    """Open the store of the same games before other backgrounds.

    Raises:
        DataError: no usable store, or one that is no twin.
    """
    twin = open_store(data, store.frame_shape)
    check_twins(store, twin)
    return twin


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))

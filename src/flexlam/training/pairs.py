"""Which transitions a run trains, chooses and tests on."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from flexlam.core.config import Config
from flexlam.data.splits import split_episodes
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex


class PairConfig(Config):
    """How transitions are taken from a frame store."""

    gap_steps: int | None = Field(default=1, ge=1)
    """Steps between the two frames of a transition ..."""
    gap_seconds: float | None = Field(default=None, gt=0)
    """... or seconds between them; set exactly one of the two."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the episodes for training, validation and test."""
    split_seed: int = 0
    """Which episodes go where."""

    @model_validator(mode="after")
    def _one_gap(self) -> "PairConfig":
        if (self.gap_steps is None) == (self.gap_seconds is None):
            raise ValueError("set exactly one of gap_steps and gap_seconds")
        return self


@dataclass(frozen=True)
class SplitPairs:
    """Transitions of the three sets of episodes; no episode is in two."""

    store: FrameStore
    train: TransitionIndex
    validation: TransitionIndex
    test: TransitionIndex


def load_pairs(data: Path, config: PairConfig) -> SplitPairs:
    """Open a frame store and list its transitions.

    Raises:
        DataError: no usable store, or no transitions in one of the sets.
    """
    store = FrameStore.open(data)
    splits = split_episodes(store, config.split, config.split_seed)
    sets = (
        TransitionIndex.build(store, config.gap_steps or 1, config.gap_seconds, episodes)
        for episodes in (splits.train, splits.validation, splits.test)
    )
    return SplitPairs(store, *sets)

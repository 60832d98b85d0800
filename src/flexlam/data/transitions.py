"""Pairs of frames of one episode, a fixed gap apart, with the action between them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from flexlam.core.errors import ConfigError, DataError
from flexlam.core.types import Transitions
from flexlam.data.store import FrameStore

_TOLERANCE = 0.25  # of the gap: how far from it the frames of an uneven video may lie


@dataclass(frozen=True, eq=False)
class TransitionIndex:
    """Where the transitions of a store are; row r is one pair, and no pair leaves its episode."""

    first: np.ndarray
    """(R,) int64, position of o_t in the store."""
    second: np.ndarray
    """(R,) int64, position of the later frame."""
    previous: np.ndarray
    """(R,) int64, position of the frame before o_t, where a_{t-1} is kept; -1 at an episode's start."""
    episode: np.ndarray
    """(R,) int32, index of the episode in the store."""
    step: np.ndarray
    """(R,) int32, t."""
    task: np.ndarray
    """(R,) int32, index into `tasks`."""
    tasks: tuple[str, ...]
    data_hash: str
    """Content hash of the store that the positions belong to."""

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def build(
        cls,
        store: FrameStore,
        gap_steps: int = 1,
        gap_seconds: float | None = None,
        episodes: Iterable[int] | None = None,
    ) -> "TransitionIndex":
        """All transitions of the given episodes (all of them by default), in their order.

        A gap in seconds takes the nearest frame, if one lies within half a frame period or a quarter of the gap.

        Raises:
            ConfigError: the gap is not positive, or given in both steps and seconds.
            DataError: no episode is long enough, or there is no such episode.
        """
        if gap_steps < 1 or (gap_seconds is not None and (gap_seconds <= 0 or gap_steps != 1)):
            raise ConfigError(
                f"A gap of {gap_steps} steps and {gap_seconds} seconds makes no sense; "
                "give a positive number of steps, or a positive number of seconds."
            )
        chosen = np.arange(store.num_episodes) if episodes is None else np.asarray(list(episodes), np.int64)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= store.num_episodes):
            raise DataError(f"{store.path} has the episodes 0 .. {store.num_episodes - 1}; got {chosen.max()}.")
        task_ids = {task: number for number, task in enumerate(store.tasks)}
        parts: list[np.ndarray] = []
        for episode in chosen:
            start, length = int(store.episodes.starts[episode]), int(store.episodes.lengths[episode])
            steps, later = pairs_of(store.times[start : start + length], gap_steps, gap_seconds)
            task = task_ids[store.episodes.tasks[episode]]
            before = np.where(steps > 0, start + steps - 1, -1)
            columns = (start + steps, start + later, before, np.full_like(steps, episode), steps)
            parts.append(np.stack([*columns, np.full_like(steps, task)]))
        table = np.concatenate(parts, axis=1) if parts else np.zeros((6, 0), np.int64)
        if not table.shape[1]:
            gap = f"{gap_steps} step(s)" if gap_seconds is None else f"{gap_seconds:g} s"
            raise DataError(
                f"{store.path} has no transition with a gap of {gap} in {len(chosen)} episode(s). "
                "Take a smaller gap or longer episodes."
            )
        first, second, previous = (column.copy() for column in table[:3])
        episode_of, step, task_of = (column.astype(np.int32) for column in table[3:])
        return cls(first, second, previous, episode_of, step, task_of, store.tasks, store.content_hash)

    def reaching(self, store: FrameStore, rows: np.ndarray, gaps: np.ndarray) -> "TransitionIndex":
        """Transitions (B,) of some rows whose frames are so many gaps (B,) apart, or as many as the episode has."""
        episode, first = self.episode[rows], self.first[rows]
        last = store.episodes.starts[episode] + store.episodes.lengths[episode] - 1
        gap = self.second[rows] - first
        gaps = np.minimum(gaps, (last - first) // gap)
        others = {name: getattr(self, name)[rows] for name in ("previous", "episode", "step", "task")}
        return replace(self, first=first, second=first + gaps * gap, **others)

    def leading(self, rows: np.ndarray, num_frames: int, stride: int) -> np.ndarray:
        """Positions (B, n) of frames that lead up to o_t, which is the last, a stride apart.

        Before an episode's start its first frame repeats.
        """
        back = stride * np.arange(num_frames - 1, -1, -1)
        return self.first[rows, None] - np.minimum(back, self.step[rows, None])

    def of_twin(self, twin: FrameStore) -> "TransitionIndex":
        """The same transitions in a store whose frames stand where this one's do (data/twins.py checks that)."""
        return replace(self, data_hash=twin.content_hash)

    def batch(self, store: FrameStore, rows: np.ndarray, with_actions: bool = True) -> Transitions:
        """The transitions of some rows (B,), in any order.

        `action` is the one executed at the first frame, whatever the gap; `prev_action` is NaN at an
        episode's start. Both are None where the store has no actions, or with `with_actions=False`.

        Raises:
            DataError: the store is another than this index was built from.
        """
        if store.content_hash != self.data_hash:
            raise DataError(
                f"{store.path} has the content hash {store.content_hash}; these transitions belong to "
                f"{self.data_hash}. Open the store that they were built from."
            )
        first, previous = self.first[rows], self.previous[rows]
        frames = torch.from_numpy(store.frames(np.concatenate([first, self.second[rows]])))
        obs, next_obs = frames[: len(first)], frames[len(first) :]
        if not with_actions or store.actions is None:
            return Transitions(obs, next_obs)
        before = store.actions[previous]
        before[previous < 0] = np.nan
        return Transitions(obs, next_obs, torch.from_numpy(store.actions[first]), torch.from_numpy(before))


def pairs_of(times: np.ndarray, gap_steps: int, gap_seconds: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Steps (P,) and later steps (P,) of an episode's transitions; a gap in seconds takes the nearest frame."""
    if gap_seconds is not None:
        return _pairs_in_seconds(times, gap_seconds)
    steps = np.arange(max(len(times) - gap_steps, 0))
    return steps, steps + gap_steps


def _pairs_in_seconds(times: np.ndarray, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps (P,) and those (P,) nearest to `gap` seconds later, off by half a frame or a quarter of the gap at most."""
    if len(times) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    wanted = times + gap
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    nearest = np.where(wanted - times[right - 1] < times[right] - wanted, right - 1, right)
    steps = np.arange(len(times))
    half = 0.5 * float(np.median(np.diff(times))) * (1 + 1e-6)
    off = np.abs(times[nearest] - wanted)
    inside = wanted <= times[-1]  # behind the end a shorter gap would be taken, again and again
    usable = (off <= np.where(inside, max(half, _TOLERANCE * gap), half)) & (nearest > steps)
    return steps[usable], nearest[usable]

"""Episodes of an actor on named seeds, many games at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np

from flexlam.acting.actor import Actor
from flexlam.core.errors import ConfigError
from flexlam.core.machine import single_thread
from flexlam.core.seeding import derive_seed
from flexlam.envs.base import Environment, Step, Suite

_NUM_STEPPERS = 4  # threads that wait for games, which run in processes of their own


@dataclass
class PlayedEpisode:
    """What became of one episode."""

    number: int
    kept: bool = False
    """Whether it is remembered step by step."""
    episode_return: float = 0.0
    num_decisions: int = 0
    frames: list[np.ndarray] = field(default_factory=list)
    """Frames (H, W, C), if kept."""
    actions: list[np.ndarray] = field(default_factory=list)
    """The action (A,) chosen at each of them."""
    notes: list[object] = field(default_factory=list)
    """What was noted after each of those decisions."""

    def add(self, frame: np.ndarray, action: np.ndarray, step: Step, note: Callable[[], object]) -> None:
        """One decision and what it led to."""
        self.episode_return += step.reward
        self.num_decisions += 1
        if self.kept:
            self.frames.append(frame.copy())
            self.actions.append(action.copy())
            self.notes.append(note())


class Arena:
    """Running games of one task, in which one actor after another plays. A context manager.

    On a CPU, `num_workers` threads play a share of the games each, so that one actor thinks while the games of another
    run; the episodes of a worker are settled beforehand, so nothing depends on which one is faster.

    Raises:
        ConfigError: there is no such task, or no environment is asked for.
        SuiteError: a game cannot be started.
    """

    def __init__(self, suite: Suite, task: str, num_environments: int, num_workers: int = 1) -> None:
        if num_environments < 1 or num_workers < 1:
            raise ConfigError(f"Got {num_environments} environments and {num_workers} workers; give 1 or more of each.")
        self.suite, self.task = suite, task
        self._num_workers = min(num_workers, num_environments)
        self._open = ExitStack()
        try:
            self._games = [self._open.enter_context(suite.make(task)) for _ in range(num_environments)]
            self._steppers = self._open.enter_context(ThreadPoolExecutor(_NUM_STEPPERS))
            self._workers = self._open.enter_context(ThreadPoolExecutor(self._num_workers))
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def play(
        self,
        make_actor: Callable[[int], Actor],
        num_episodes: int,
        seed: int,
        purpose: str = "test",
        num_kept: int = 0,
        note: Callable[[Any, int], object] = lambda actor, slot: None,
    ) -> list[PlayedEpisode]:
        """Episodes 0 .. num_episodes − 1, in their order, of actors made for a number of slots.

        Episode i is played with the seed that (purpose, task, i) names, whoever acts: actors meet the same episodes,
        and recording ("record"), choosing ("validation") and testing ("test") share none. Of the first `num_kept`
        episodes frames and actions are kept, and what `note(actor, slot)` says after each decision.

        Raises:
            SuiteError: a game crashed.
        """
        episodes = [PlayedEpisode(number, number < num_kept) for number in range(num_episodes)]
        count = self._num_workers

        def work(number: int) -> None:
            games = self._games[number::count]
            with single_thread() if count > 1 else nullcontext():
                self._play(games, make_actor(len(games)), episodes[number::count], (seed, purpose), note)

        list(self._workers.map(work, range(count)))
        return episodes

    def _play(
        self,
        games: Sequence[Environment],
        actor: Actor,
        episodes: Sequence[PlayedEpisode],
        stream: tuple[int, str],
        note: Callable[[Any, int], object],
    ) -> None:
        """One worker's share: whenever a game is over, it takes the next of its episodes."""
        waiting = iter(episodes)
        frames = np.zeros((len(games), *self.suite.frame_shape), np.uint8)
        seed, purpose = stream

        def begin(slot: int) -> PlayedEpisode | None:
            episode = next(waiting, None)
            if episode is not None:
                words = (purpose, self.task, episode.number)
                frames[slot] = games[slot].reset(derive_seed(seed, *words)).obs
                actor.begin(slot, games[slot], derive_seed(seed, *words, "actor"))
            return episode

        slots = [begin(slot) for slot in range(len(games))]
        while any(slots):
            active = np.array([episode is not None for episode in slots])
            actions = actor.act(frames, active)
            numbers = np.flatnonzero(active).tolist()
            steps = self._steppers.map(_step, [games[slot] for slot in numbers], actions[numbers])
            for slot, step in zip(numbers, list(steps), strict=True):
                episode = slots[slot]
                assert episode is not None
                episode.add(frames[slot], actions[slot], step, partial(note, actor, slot))
                frames[slot] = step.obs
                if step.terminated or step.truncated:
                    slots[slot] = begin(slot)


def _step(game: Environment, action: np.ndarray) -> Step:
    return game.step(action)

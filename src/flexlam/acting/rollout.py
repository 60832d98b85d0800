"""Episodes of an actor on named seeds, many games at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np

from flexlam.acting.actor import Actor
from flexlam.core.errors import ConfigError
from flexlam.core.seeding import derive_seed
from flexlam.envs.base import Environment, Step, Suite


@dataclass
class PlayedEpisode:
    """What became of one episode."""

    number: int
    kept: bool = False
    """Whether it is remembered step by step."""
    episode_return: float = 0.0
    num_decisions: int = 0
    last_extras: dict[str, np.ndarray] = field(default_factory=dict)
    """Exact states (n,) of its last frame, by the names of core/extras.py, where the suite tells them."""
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
        self.last_extras = step.extras
        if self.kept:
            self.frames.append(frame.copy())
            self.actions.append(action.copy())
            self.notes.append(note())


class Arena:
    """Running games of one task, in which one actor after another plays. A context manager.

    `num_steppers` threads wait for games that run in processes of their own; other games are stepped one by one.

    Raises:
        ConfigError: there is no such task, or no environment is asked for.
        SuiteError: a game cannot be started.
    """

    def __init__(self, suite: Suite, task: str, num_environments: int, num_steppers: int = 4) -> None:
        if num_environments < 1:
            raise ConfigError(f"num_environments is {num_environments}; give 1 or more.")
        self.suite, self.task = suite, task
        self._open = ExitStack()
        try:
            self._games = [self._open.enter_context(suite.make(task)) for _ in range(num_environments)]
            steppers = self._open.enter_context(ThreadPoolExecutor(num_steppers))
            threads = num_steppers > 1 and suite.games_apart
            self._map: Callable[..., Iterable[Step]] = steppers.map if threads else map
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
        share: tuple[int, int] = (0, 1),
        num_kept: int = 0,
        note: Callable[[Any, int], object] = lambda actor, slot: None,
    ) -> list[PlayedEpisode]:
        """Episodes 0 .. num_episodes − 1, in their order, of an actor made for a number of slots.

        Episode i is played with the seed that (purpose, task, i) names, whoever acts: actors meet the same episodes,
        and recording ("record"), choosing ("validation") and testing ("test") share none. A `share` (i, n) plays every
        n-th episode from the i-th on. Of the first `num_kept` episodes frames and actions are kept, and what
        `note(actor, slot)` says after each decision.

        Raises:
            SuiteError: a game crashed.
        """
        numbers = range(num_episodes)[share[0] :: share[1]]
        episodes = [PlayedEpisode(number, number < num_kept) for number in numbers]
        waiting = iter(episodes)
        games = self._games[: max(1, len(episodes))]
        actor = make_actor(len(games))
        frames = np.zeros((len(games), *self.suite.frame_shape), np.uint8)

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
            playing = np.flatnonzero(active).tolist()
            steps = list(self._map(_step, [games[slot] for slot in playing], actions[playing]))
            for slot, step in zip(playing, steps, strict=True):
                episode = slots[slot]
                assert episode is not None
                episode.add(frames[slot], actions[slot], step, partial(note, actor, slot))
                frames[slot] = step.obs
                if step.terminated or step.truncated:
                    slots[slot] = begin(slot)
        return episodes


def _step(game: Environment, action: np.ndarray) -> Step:
    return game.step(action)

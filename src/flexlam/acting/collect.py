"""Recording episodes of a suite with an expert, a random or a mixed behaviour."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Protocol

import numpy as np

from flexlam.core.errors import ConfigError, SuiteError, did_you_mean
from flexlam.core.seeding import derive_seed, numpy_generator
from flexlam.data.episodes import Columns
from flexlam.envs.base import Environment, Step, Suite

_LONGEST_HOLD = 3
_MOST_DROPPED = 100


class EpisodeWriter(Protocol):
    """Where recorded episodes go; whoever opened it closes it."""

    def write_episode(self, task: str, frames: np.ndarray, columns: Columns) -> None:
        """Append one episode; frames (T, H, W, C) uint8."""


class Behaviour(Protocol):
    """Chooses actions while recording."""

    def start(self, environment: Environment, generator: np.random.Generator) -> None:
        """Forget the episode before; draw from this generator from now on."""

    def act(self, environment: Environment) -> np.ndarray:
        """An action vector (A,) float32."""


class Random:
    """Uniform over the legal choices of the task, or between bounds, each held for 1 to 3 decisions."""

    def start(self, environment: Environment, generator: np.random.Generator) -> None:
        """Begin an episode."""
        self._held = _HeldAction(environment, generator)

    def act(self, environment: Environment) -> np.ndarray:
        """The held action, or a new one."""
        return self._held.next()


class Expert:
    """The suite's scripted expert."""

    def start(self, environment: Environment, generator: np.random.Generator) -> None:
        """Begin an episode."""

    def act(self, environment: Environment) -> np.ndarray:
        """What the expert does."""
        return environment.expert_action()


class Mixed:
    """The expert, interrupted by bursts of one random action held for 1 to 3 decisions.

    `noise` is the expected share of decisions that are random.
    """

    def __init__(self, noise: float = 0.15) -> None:
        if not 0 <= noise < 1:
            raise ConfigError(f"The share of random decisions is {noise}; expected 0 <= share < 1.")
        self.noise = noise

    def start(self, environment: Environment, generator: np.random.Generator) -> None:
        """Begin an episode."""
        self._held = _HeldAction(environment, generator)
        self._generator = generator

    def act(self, environment: Environment) -> np.ndarray:
        """A burst's action, or what the expert does."""
        # A burst lasts 2 decisions on average, so bursts must begin with this chance at each expert decision.
        mean = (1 + _LONGEST_HOLD) / 2
        begin = self.noise / (self.noise + mean * (1 - self.noise))
        if self._held.remaining > 0 or self._generator.random() < begin:
            return self._held.next()
        return environment.expert_action()


class _HeldAction:
    def __init__(self, environment: Environment, generator: np.random.Generator) -> None:
        self._environment = environment
        self._generator = generator
        self._action = np.empty(0, np.float32)
        self.remaining = 0

    def next(self) -> np.ndarray:
        if self.remaining == 0:
            self._action = self._environment.sample_action(self._generator)
            self.remaining = int(self._generator.integers(1, _LONGEST_HOLD + 1))
        self.remaining -= 1
        return self._action.copy()


def collect(
    suite: Suite,
    tasks: Sequence[str],
    num_frames: int,
    behaviour: Behaviour,
    seed: int,
    writer: EpisodeWriter,
    with_actions: bool = True,
    progress: Callable[[int], object] | None = None,
) -> dict[str, int]:
    """Record `num_frames` frames of each task and return how many were written; `progress` is told every frame.

    Episode i of a task is played with the seed that ("record", task, i) names, so recordings share no seed with
    episodes for choosing or testing. The last episode of a task is cut; episodes of a single frame are dropped.

    Raises:
        ConfigError: no such task, or fewer than 2 frames are wanted.
        SuiteError: a game crashed; what was recorded until then is written and stays.
    """
    for task in tasks:
        if task not in suite.tasks:
            raise ConfigError(f"There is no task called {task!r}. {did_you_mean(task, suite.tasks)}")
    if num_frames < 2 or not tasks:
        raise ConfigError(f"Recording needs at least one task and 2 frames of each; got {len(tasks)}, {num_frames}.")
    recorded = dict.fromkeys(tasks, 0)
    for task in recorded:
        try:
            with suite.make(task) as environment:
                for episode in _episodes(environment, task, num_frames, behaviour, seed, progress):
                    episode.write(writer, task, suite.fps, with_actions)
                    recorded[task] += len(episode)
        except SuiteError as error:
            kept = sum(recorded.values())
            raise SuiteError(
                f"Recording stopped in task {task!r} after {recorded[task]} of {num_frames} frames. {error} "
                f"What was recorded is kept: {kept} frames in all."
            ) from error
    return recorded


class _Episode:
    """Rows of one episode as they come."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.extras: list[dict[str, np.ndarray]] = []

    def __len__(self) -> int:
        return len(self.frames)

    def append(self, step: Step, action: np.ndarray, reward: float) -> None:
        self.frames.append(step.obs)
        self.actions.append(action)
        self.rewards.append(reward)
        self.extras.append(step.extras)

    def cut(self, length: int) -> None:
        for rows in (self.frames, self.actions, self.rewards, self.extras):
            del rows[length:]

    def write(self, writer: EpisodeWriter, task: str, fps: float, with_actions: bool) -> None:
        columns = Columns(
            times=np.arange(len(self)) / fps,
            actions=np.stack(self.actions).astype(np.float32) if with_actions else None,
            rewards=np.array(self.rewards, np.float32),
            extras={key: np.stack([extras[key] for extras in self.extras]) for key in self.extras[0]},
        )
        writer.write_episode(task, np.stack(self.frames), columns)


def _episodes(
    environment: Environment,
    task: str,
    num_frames: int,
    behaviour: Behaviour,
    seed: int,
    progress: Callable[[int], object] | None,
) -> Iterator[_Episode]:
    """Episodes of two frames and more, `num_frames` in all; a crash is raised after what was played until then."""
    remaining, dropped = num_frames, 0
    for number in count():
        if remaining == 0:
            return
        episode, crash = _Episode(), None
        try:
            _play(episode, environment, task, number, remaining, behaviour, seed, progress)
        except SuiteError as error:
            crash = error
        if remaining - len(episode) == 1:
            episode.cut(len(episode) - 1)  # a single frame would be left, which is no episode
        if len(episode) >= 2:
            remaining, dropped = remaining - len(episode), 0
            yield episode
        else:
            dropped += 1
        if crash is not None:
            raise crash
        if dropped == _MOST_DROPPED:
            raise SuiteError(f"{dropped} episodes in a row ended at once, so there is nothing to record.")


def _play(
    episode: _Episode,
    environment: Environment,
    task: str,
    number: int,
    num_frames: int,
    behaviour: Behaviour,
    seed: int,
    progress: Callable[[int], object] | None,
) -> None:
    step = environment.reset(derive_seed(seed, "record", task, number))
    behaviour.start(environment, numpy_generator(seed, "record", task, number, "behaviour"))
    while len(episode) < num_frames and not (step.terminated or step.truncated):
        action = behaviour.act(environment)
        following = environment.step(action)
        episode.append(step, action, following.reward)
        step = following
        if progress is not None:
            progress(1)

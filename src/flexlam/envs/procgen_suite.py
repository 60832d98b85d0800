"""Procgen (Cobbe et al. 2020): 16 two-dimensional games whose levels are made from a number, 15 actions, easy mode.

Needs `pip install --no-deps procgen-mirror==0.10.7`, and libGL.so.1 from the system (docs/worlds.md).
"""

from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, SuiteError, did_you_mean
from flexlam.core.extras import ENDOGENOUS_STATE
from flexlam.envs.base import Reference, Step
from flexlam.envs.procgen_library import MOST_LEVELS, SIZE, ProcgenGame
from flexlam.envs.procgen_maze import shortest_way

TASKS = (
    "bigfish",
    "bossfight",
    "caveflyer",
    "chaser",
    "climber",
    "coinrun",
    "dodgeball",
    "fruitbot",
    "heist",
    "jumper",
    "leaper",
    "maze",
    "miner",
    "ninja",
    "plunder",
    "starpilot",
)

ACTIONS = (
    "left+down",
    "left",
    "left+up",
    "down",
    "stay",
    "up",
    "right+down",
    "right",
    "right+up",
    "d",
    "a",
    "w",
    "s",
    "q",
    "e",
)
"""Procgen's own 15, the same in every game. Keys are shots and other specials; in many games they do nothing."""

EXPERTS = {"maze": shortest_way}

REFERENCES = {"maze": Reference(expert=10.0, expert_stderr=0.0, random=4.0, random_stderr=0.4924, num_episodes=100)}
"""Seeds 7000 to 7099, uniformly random choices of the 15; a test measures them anew."""


class ProcgenSuite:
    """All 16 games ("procgen"), or one of them ("procgen:maze"), which has the scripted expert that the game has.

    64×64 frames of 15 a second, easy mode, unlimited levels: the seed of an episode is its level. `Step.extras` tells
    `endogenous_state`: x, y, velocity x, y of the agent in cells of its world, y upward. No foreground is told.

    Raises:
        ConfigError: there is no such game, or procgen-mirror is not installed.
        SuiteError: its library cannot be loaded.
    """

    action_spec = ActionSpec(num_choices=(len(ACTIONS),), names=ACTIONS)
    frame_shape = (SIZE, SIZE, 3)
    fps = 15.0
    games_apart = False

    def __init__(self, env_id: str = "") -> None:
        if env_id:
            _check_task(env_id)
        self.tasks: tuple[str, ...] = (env_id,) if env_id else TASKS
        self.has_expert: bool = all(task in EXPERTS for task in self.tasks)
        with self.make(self.tasks[0]) as environment:  # what is missing comes to light now
            environment.reset(0)

    def make(self, task: str) -> "ProcgenEnvironment":
        """A game.

        Raises:
            ConfigError: there is no such game here.
            SuiteError: it cannot be started.
        """
        if task not in self.tasks:
            raise ConfigError(f"This suite has no task called {task!r}. {did_you_mean(task, self.tasks)}")
        return ProcgenEnvironment(task)

    def reference(self, task: str) -> Reference | None:
        """Returns of the scripted expert and of random play; None where there is no expert."""
        _check_task(task)
        return REFERENCES.get(task)


class ProcgenEnvironment:
    """One running game."""

    action_spec = ProcgenSuite.action_spec

    def __init__(self, task: str) -> None:
        self._task = task
        self._game: ProcgenGame | None = None
        self._last: Step | None = None
        self._timeout = self._steps = 0
        self._over = self._closed = False

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        if self._closed:
            raise SuiteError("The game is closed. Make a new one with `suite.make(task)`.")
        self._end()
        self._game = ProcgenGame(self._task, (seed ^ (seed >> 31) ^ (seed >> 62)) % MOST_LEVELS)
        self._timeout, self._steps, self._over = self._game.state().timeout, 0, False
        self._last = self._observe(self._game, 0.0)
        return self._last

    def step(self, action: np.ndarray) -> Step:
        """Execute a choice for one frame.

        Raises:
            SuiteError: the episode is over.
            DataError: the action does not fit the spec.
        """
        self.action_spec.check(action, "step")
        if self._over or self._game is None or self._last is None:
            raise SuiteError("The episode is over (or the game is closed). Call `reset(seed)` first.")
        self._steps += 1
        reward, self._over, solved = self._game.act(int(action[0]))
        if self._over:  # the game shows its next episode already
            truncated = self._steps >= self._timeout and not solved
            self._last = replace(self._last, reward=reward, terminated=not truncated, truncated=truncated)
        else:
            self._last = self._observe(self._game, reward)
        return self._last

    def expert_action(self) -> np.ndarray:
        """What the scripted expert would do now, (1,) float32.

        Raises:
            SuiteError: this game has none, or the episode is over.
        """
        if self._task not in EXPERTS:
            raise SuiteError(f"Only {', '.join(EXPERTS)} has a scripted expert. Record with --behaviour random.")
        if self._over or self._game is None:
            raise SuiteError("The episode is over (or the game is closed). Call `reset(seed)` first.")
        return np.array([EXPERTS[self._task](self._game.state())], np.float32)

    def legal_actions(self) -> np.ndarray:
        """(15,) bool, all true, as the benchmark has it."""
        return np.ones(len(ACTIONS), bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(1,) float32: uniform."""
        return np.array([generator.integers(len(ACTIONS))], np.float32)

    def close(self) -> None:
        """End the game; calling it twice does no harm."""
        self._end()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self) -> None:
        game, self._game = self._game, None
        if game is not None:
            game.close()

    def _observe(self, game: ProcgenGame, reward: float) -> Step:
        return Step(game.frame.copy(), reward, False, False, {ENDOGENOUS_STATE: game.state().agent})


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ConfigError(f"There is no Procgen game called {task!r}. {did_you_mean(task, TASKS)}")

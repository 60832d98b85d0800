"""What an environment is to the rest of the package: the suite, its tasks, and one running game."""

import inspect
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from flexlam.core import catalog
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError


@dataclass(frozen=True)
class Reference:
    """Returns that normalise a task: mean and standard error over episodes on seeds never used to write the expert."""

    expert: float
    expert_stderr: float
    random: float
    random_stderr: float
    num_episodes: int

    def normalise(self, episode_return: float) -> float:
        """(R - random) / (expert - random)."""
        return (episode_return - self.random) / (self.expert - self.random)


@dataclass(frozen=True)
class Step:
    """What one decision led to."""

    obs: np.ndarray
    """(H, W, C) uint8; after the end of an episode, the last frame again."""
    reward: float
    terminated: bool
    truncated: bool
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    """Exact states worth recording, float32 (n,) each; they belong to the frame `obs`. Names: core/extras.py."""
    foreground: np.ndarray | None = None
    """(H, W) bool, the pixels of the agent and its scene: overlays are drawn behind them. None: over everything."""


class Environment(Protocol):
    """One running game. Use it as a context manager: the game is closed on every way out."""

    action_spec: ActionSpec

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames. The reward is 0."""

    def step(self, action: np.ndarray) -> Step:
        """Execute an action vector (A,) float32 for one decision.

        Raises:
            SuiteError: the game has crashed, or the episode is over.
            DataError: the action does not fit the spec.
        """

    def expert_action(self) -> np.ndarray:
        """What the scripted expert would do now, (A,) float32.

        Raises:
            SuiteError: the suite has no expert.
        """

    def legal_actions(self) -> np.ndarray:
        """(sum of num_choices,) bool: the choices that do something in this task, one dimension after the other."""

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """A random action (A,) float32: uniform over the legal choices and between the bounds."""

    def close(self) -> None:
        """End the game; calling it twice does no harm."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Suite(Protocol):
    """A set of tasks behind one action set."""

    tasks: tuple[str, ...]
    """Every task; those with a `Reference` can be used for normalised returns."""
    action_spec: ActionSpec
    frame_shape: tuple[int, int, int]
    fps: float
    """Decisions per second of game time."""
    has_expert: bool
    """Whether `expert_action` answers."""
    games_apart: bool
    """Whether each game runs in a process of its own. If not, only the thread that made a game steps it: OpenGL, with
    which some draw, allows no other."""

    def make(self, task: str) -> Environment:
        """Start the game of a task.

        Raises:
            ConfigError: there is no such task.
            SuiteError: the game cannot be started.
        """

    def reference(self, task: str) -> Reference | None:
        """Expert and random returns, from the committed table; None for a task that is no yardstick."""


def open_suite(name: str) -> Suite:
    """The suite that a setting names: one of the catalogue ("vizdoom"), or a kind and an ID ("gymnasium:CartPole-v1").

    Raises:
        ConfigError: there is no such suite, an ID is missing or one too many, or a package is missing.
        SuiteError: the environment of that ID cannot be used.
    """
    kind, _, env_id = name.partition(":")
    suite_class = catalog.lookup("suite", kind)
    if "env_id" in inspect.signature(suite_class).parameters:
        return suite_class(env_id)
    if kind != name:
        raise ConfigError(f"The suite {kind!r} holds its own tasks and takes no ID; got {name!r}. Name it {kind!r}.")
    return suite_class()

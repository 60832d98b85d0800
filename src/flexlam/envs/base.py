"""What an environment is to the rest of the package: the suite, its tasks, and one running game."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from flexlam.core.action import ActionSpec


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
    """Exact states worth recording (an overlay's, say); belongs to the frame `obs`."""


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
        """What the scripted expert would do now, (A,) float32."""

    def legal_actions(self) -> np.ndarray:
        """(num_choices,) bool: the choices that do something in this task."""

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

    def make(self, task: str) -> Environment:
        """Start the game of a task.

        Raises:
            ConfigError: there is no such task.
            SuiteError: the game cannot be started.
        """

    def reference(self, task: str) -> Reference | None:
        """Expert and random returns, from the committed table; None for a task that is no yardstick."""

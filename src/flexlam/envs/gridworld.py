"""A disc on a grid that walks to a goal: pixels from NumPy alone, and exact truth about every frame.

It is meant to be recorded under overlays, which move behind the disc and the goal (docs/worlds.md).
"""

from types import TracebackType
from typing import Self

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, SuiteError, did_you_mean
from flexlam.core.extras import ENDOGENOUS_STATE, GOAL_STATE
from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Reference, Step

ACTIONS: dict[str, tuple[int, int]] = {"stay": (0, 0), "up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
"""Name -> columns to the right and rows down; a move into the border does nothing."""

_SIZES = {"grid4": 4, "grid8": 8}
_EPISODE_LENGTH = 64
_GREY, _LINE = 128, 116
_AGENT, _GOAL = (255, 255, 255), (220, 40, 40)
_RIM = np.zeros(3, np.uint8)

_REFERENCES = {
    "grid4": Reference(expert=24.14, expert_stderr=0.2956, random=1.7, random_stderr=0.1922, num_episodes=50),
    "grid8": Reference(expert=11.82, expert_stderr=0.1952, random=0.4, random_stderr=0.099, num_episodes=50),
}
"""Seeds 7000 to 7049, uniformly random choices; a test measures them anew."""


class GridworldSuite:
    """A white disc on a grid of 4 × 4 or 8 × 8 cells over mid-grey; an episode has 64 decisions.

    On the red ring, the goal, the return grows by 1 and the goal moves to another cell, whichever is drawn.
    `Step.extras` tells the disc's cell (`endogenous_state`: x, y) and the goal's (`goal_state`); the foreground is disc
    and ring.

    Raises:
        ConfigError: frames of that size cannot be divided into the cells of every task.
    """

    tasks: tuple[str, ...] = tuple(_SIZES)
    action_spec = ActionSpec(num_choices=(len(ACTIONS),), names=tuple(ACTIONS))
    fps = 10.0
    has_expert = True
    games_apart = False

    def __init__(self, frame_size: int = 64) -> None:
        most = max(_SIZES.values())
        if frame_size < 6 * most or frame_size % most:
            raise ConfigError(
                f"The frame size is {frame_size}; expected a multiple of {most}, and {6 * most} pixels or more."
            )
        self.frame_shape: tuple[int, int, int] = (frame_size, frame_size, 3)

    def make(self, task: str) -> "GridworldEnvironment":
        """A grid.

        Raises:
            ConfigError: there is no such task.
        """
        return GridworldEnvironment(_num_cells(task), self.frame_shape[0])

    def reference(self, task: str) -> Reference | None:
        """Goals reached in an episode by the expert and by random play."""
        _num_cells(task)
        return _REFERENCES[task]


class GridworldEnvironment:
    """One grid."""

    action_spec = GridworldSuite.action_spec

    def __init__(self, num_cells: int, frame_size: int) -> None:
        self._num_cells, self._width = num_cells, frame_size // num_cells
        self._ground = np.full((frame_size, frame_size, 3), _GREY, np.uint8)
        lines = np.arange(0, frame_size, self._width)
        self._ground[lines], self._ground[:, lines] = _LINE, _LINE
        self._disc, self._ring = _disc(self._width), _ring(self._width)
        self._generator = np.random.default_rng(0)
        self._agent = self._goal = (0, 0)
        self._steps, self._over = 0, True

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        self._generator = numpy_generator(seed, "gridworld")
        self._agent = self._draw_cell()
        self._goal = self._another_cell()
        self._steps, self._over = 0, False
        return self._observe(0.0)

    def step(self, action: np.ndarray) -> Step:
        """Walk one cell, or stay.

        Raises:
            SuiteError: the episode is over.
            DataError: the action does not fit the spec.
        """
        self.action_spec.check(action, "step")
        if self._over:
            raise SuiteError("The episode is over. Call `reset(seed)` first.")
        right, down = list(ACTIONS.values())[int(action[0])]
        last = self._num_cells - 1
        self._steps += 1
        self._over = self._steps == _EPISODE_LENGTH
        x, y = self._agent
        moved = (min(max(x + right, 0), last), min(max(y + down, 0), last))
        reached = moved == self._goal
        if not self._over:  # the frame after the end is the last one again
            self._agent = moved
            self._goal = self._another_cell() if reached else self._goal
        return self._observe(float(reached))

    def expert_action(self) -> np.ndarray:
        """(1,) float32: one cell nearer to the goal, along the longer way first."""
        right, down = (goal - agent for goal, agent in zip(self._goal, self._agent, strict=True))
        sideways = abs(right) >= abs(down)
        name = ("right" if right > 0 else "left") if sideways else ("down" if down > 0 else "up")
        return np.array([list(ACTIONS).index(name)], np.float32)

    def legal_actions(self) -> np.ndarray:
        """(5,) bool, all true."""
        return np.ones(len(ACTIONS), bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(1,) float32: uniform."""
        return np.array([generator.integers(len(ACTIONS))], np.float32)

    def close(self) -> None:
        """End the episode; calling it twice does no harm."""
        self._over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw_cell(self) -> tuple[int, int]:
        x, y = self._generator.integers(self._num_cells, size=2).tolist()
        return x, y

    def _another_cell(self) -> tuple[int, int]:
        """A cell where the agent is not."""
        while (cell := self._draw_cell()) == self._agent:
            pass
        return cell

    def _observe(self, reward: float) -> Step:
        frame, foreground = self._ground.copy(), np.zeros(self._ground.shape[:2], bool)
        for (x, y), (mask, colours) in ((self._goal, self._ring), (self._agent, self._disc)):
            place = np.s_[y * self._width : (y + 1) * self._width, x * self._width : (x + 1) * self._width]
            frame[place][mask] = colours[mask]
            foreground[place] |= mask
        states = {ENDOGENOUS_STATE: self._agent, GOAL_STATE: self._goal}
        extras = {name: np.array(cell, np.float32) for name, cell in states.items()}
        return Step(frame, reward, False, self._over, extras, foreground)


def _num_cells(task: str) -> int:
    if task not in _SIZES:
        raise ConfigError(f"There is no gridworld task called {task!r}. {did_you_mean(task, _SIZES)}")
    return _SIZES[task]


def _disc(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a cell belong to the agent, (width, width) bool, and their colours: white with a black rim."""
    distance = _distance(width)
    colours = np.where((distance <= width / 2 - 1.5)[..., None], np.array(_AGENT, np.uint8), _RIM)
    return distance <= width / 2, colours


def _ring(width: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of the goal: red, with a black middle."""
    distance = _distance(width)
    colours = np.where((distance > width / 4)[..., None], np.array(_GOAL, np.uint8), _RIM)
    return distance <= width / 2, colours


def _distance(width: int) -> np.ndarray:
    """Of each pixel from the middle of a cell, (width, width)."""
    offsets = np.arange(width) + 0.5 - width / 2
    return np.hypot(offsets[:, None], offsets)

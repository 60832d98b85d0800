"""The moving square as a suite: a white square that is rewarded for coming nearer to a red one.

Where it arrives, the red one jumps elsewhere: the expert earns 1 at nearly every step, blind behaviour about 0.
"""

from types import TracebackType
from typing import Self

import numpy as np

from flexlam.core.errors import SuiteError
from flexlam.envs.base import Reference, Step
from moving_square import DISCRETE, FPS, MOVES

SIZE, SIDE = 16, 4


class SquareGame:
    """One running game; an episode lasts `length` decisions."""

    action_spec = DISCRETE

    def __init__(self, length: int) -> None:
        self._length = length
        self._left = 0

    def reset(self, seed: int) -> Step:
        self._random = np.random.default_rng(seed)
        self._ground = self._random.integers(0, 60, (SIZE, SIZE, 3), np.uint8)
        self._player, self._goal = self._place(), self._place()
        self._left = self._length
        return self._observe(0.0)

    def step(self, action: np.ndarray) -> Step:
        if self._left == 0:
            raise SuiteError("The episode is over. Call `reset(seed)` first.")
        self._left -= 1
        before = np.abs(self._goal - self._player).sum()
        self._player = np.clip(self._player + MOVES[int(action[0])], 0, SIZE - SIDE)
        nearer = before - np.abs(self._goal - self._player).sum()
        while (self._player == self._goal).all():
            self._goal = self._place()
        return self._observe(nearer / 2)

    def expert_action(self) -> np.ndarray:
        towards = self._goal - self._player
        wanted = [np.sign(towards[0]) * 2, 0] if towards[0] else [0, np.sign(towards[1]) * 2]
        return np.array([MOVES.index((int(wanted[0]), int(wanted[1])))], np.float32)

    def legal_actions(self) -> np.ndarray:
        return np.ones(5, bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        return generator.integers(0, 5, 1).astype(np.float32)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def _place(self) -> np.ndarray:
        return 2 * self._random.integers(0, (SIZE - SIDE) // 2 + 1, 2)

    def _observe(self, reward: float) -> Step:
        frame = self._ground.copy()
        for (y, x), colour in ((self._goal, (255, 40, 40)), (self._player, (255, 255, 255))):
            frame[y : y + SIDE, x : x + SIDE] = colour
        return Step(frame, reward, terminated=False, truncated=self._left == 0)


class SquareSuite:
    """Two tasks: short and long episodes."""

    tasks: tuple[str, ...] = ("short", "long")
    action_spec = DISCRETE
    frame_shape = (SIZE, SIZE, 3)
    fps = FPS
    has_expert = True
    games_apart = False

    def make(self, task: str) -> SquareGame:
        return SquareGame({"short": 12, "long": 30}[task])

    def reference(self, task: str) -> Reference | None:
        return Reference(30.0, 0.1, 0.0, 0.1, 50) if task == "long" else None

"""A disc and two equally good ways to the goal: whoever takes the mean of both gets through neither.

A corridor leads to a dead end, the niche. Its exits lie straight up and straight down; from each a lane leads along the
outside of the wall to the goal. What the rules are for:

- Out of the niche leads one decisive sideways move, |down| >= `DECISIVE`; a smaller one is undone. The expert goes up
  or down with probability ½, so the mean is to stay, however often it is repeated. No way leads back, neither from the
  niche nor from a lane: each episode has one choice.
- Nothing tells beforehand which way the expert will go. Even incidental differences between episodes, which a network
  could learn by heart, are gone: before the niche the disc stops in a neck that just fits it, so the two newest frames
  at the choice are the same in every episode of the expert.
- Anywhere else a decisive sideways move presses the disc against a wall, and it does not get on. So no constant action
  succeeds, and no random move that is held from before the niche decides in it.
"""

from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, SuiteError, did_you_mean
from flexlam.core.extras import ENDOGENOUS_STATE, ROUTE
from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Reference, Step

DECISIVE = 0.75
"""A sideways move of this size leads out of the niche: five standard deviations of noise of 0.15. Exact in float32."""

_TASK = "two-routes"
_EPISODE_LENGTH = 26

# Pixels, x to the right and y down.
_SIZE, _MIDDLE, _LANE = 64, 32.0, 16.0  # lanes lie _LANE above and below the middle
_SPEED = 3.0  # of an action of 1
_SLACK = 2.0  # the disc's way to each side in corridor and lanes
_RADIUS = 4.5
_START, _START_JITTER = 9.0, 2.0
_BACK, _NECK, _NICHE, _GOAL = 6.5, 26.0, 32.0, 55.5

_GREY, _WALL, _RED = 128, 40, (220, 40, 40)

_REFERENCE = Reference(expert=1.0, expert_stderr=0.0, random=0.0, random_stderr=0.0, num_episodes=50)
"""Seeds 7000 to 7049, uniformly random actions; a test measures it anew."""


class TwoRoutesSuite:
    """One task, `two-routes`: 64×64 frames, actions (right, down) in [−1, 1], an episode of at most 26 decisions.

    The return is 1 if the goal was reached, else 0. `Step.extras` tells the disc's place in pixels (`endogenous_state`:
    x, y) and which way was taken (`route`); the foreground is disc, walls and goal.
    """

    tasks: tuple[str, ...] = (_TASK,)
    action_spec = ActionSpec(num_continuous=2, names=("right", "down"))
    frame_shape: tuple[int, int, int] = (_SIZE, _SIZE, 3)
    fps = 10.0
    has_expert = True
    games_apart = False

    def make(self, task: str) -> "TwoRoutesEnvironment":
        """The world.

        Raises:
            ConfigError: there is no such task.
        """
        _check_task(task)
        return TwoRoutesEnvironment()

    def reference(self, task: str) -> Reference | None:
        """Share of episodes in which the expert and random play reach the goal."""
        _check_task(task)
        return _REFERENCE


class _Place(NamedTuple):
    """Where the disc is."""

    x: float
    offset: float
    """How far it is below the centre line of the corridor, or of its lane."""
    route: int
    """-1 up, 0 before the choice, 1 down."""


class TwoRoutesEnvironment:
    """One running world."""

    action_spec = TwoRoutesSuite.action_spec

    def __init__(self) -> None:
        self._ground, self._scene = _draw_scene()
        self._place = _Place(_START, 0.0, 0)
        self._seed, self._expert_route = 0, 1
        self._steps, self._over = 0, True

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        right, down = numpy_generator(seed, "two-routes").uniform(-_START_JITTER, _START_JITTER, 2).tolist()
        self._place = _Place(_START + right, down, 0)
        self._seed, self._expert_route = seed, expert_route(seed)
        self._steps, self._over = 0, False
        return self._observe(0.0, terminated=False)

    def step(self, action: np.ndarray) -> Step:
        """Move the disc; values beyond 1 count as 1.

        Raises:
            SuiteError: the episode is over.
            DataError: the action does not fit the spec.
        """
        if action.shape != (self.action_spec.num_dims,):
            raise DataError(f"step: the action has shape {action.shape}; expected ({self.action_spec.num_dims},).")
        self.action_spec.check(action, "step")
        if self._over:
            raise SuiteError("The episode is over. Call `reset(seed)` first.")
        right, down = np.clip(action, -1, 1).tolist()
        moved = _move(self._place, right, down)
        reached = moved.x >= _GOAL
        self._steps += 1
        self._over = reached or self._steps == _EPISODE_LENGTH
        if not self._over:  # the frame after the end is the last one again
            self._place = moved
        return self._observe(float(reached), terminated=reached)

    def expert_action(self) -> np.ndarray:
        """(2,) float32: on to the right, with small noise; up or down in the niche. Asked again, it says the same."""
        if _in_niche(self._place):
            return np.array([0, self._expert_route], np.float32)
        noise = numpy_generator(self._seed, "two-routes", "expert", self._steps).standard_normal(2)
        right = np.clip(0.85 + 0.1 * noise[0], 0.6, 1)
        down = np.clip(0.1 * noise[1] - self._place.offset / (2 * _SPEED), -0.4, 0.4)
        return np.array([right, down], np.float32)

    def legal_actions(self) -> np.ndarray:
        """(0,) bool: there are no choices."""
        return np.ones(0, bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(2,) float32: uniform between the bounds."""
        return generator.uniform(-1, 1, self.action_spec.num_dims).astype(np.float32)

    def close(self) -> None:
        """End the episode; calling it twice does no harm."""
        self._over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _observe(self, reward: float, terminated: bool) -> Step:
        frame, foreground = _draw(self._ground, self._scene, self._place)
        place = (self._place.x, _MIDDLE + self._place.route * _LANE + self._place.offset)
        extras = {
            ENDOGENOUS_STATE: np.array(place, np.float32),
            ROUTE: np.array([self._place.route], np.float32),
        }
        return Step(frame, reward, terminated, self._over and not terminated, extras, foreground)


def expert_route(seed: int) -> int:
    """Which way the expert goes in the episode of a seed, -1 up or 1 down; its stream decides nothing else."""
    return int(numpy_generator(seed, "two-routes", "route").choice((-1, 1)))


def _move(place: _Place, right: float, down: float) -> _Place:
    """Where a decision leads, in a world without an end."""
    decisive = abs(down) >= DECISIVE
    if _in_niche(place):
        return place._replace(route=1 if down > 0 else -1) if decisive else place
    x = place.x + (0 if decisive else _SPEED * right)
    if place.route == 0 and x >= _NECK:
        return _Place(_NICHE if place.x == _NECK and x > _NECK else _NECK, 0.0, 0)
    offset = min(max(place.offset + _SPEED * down, -_SLACK), _SLACK)
    return _Place(max(x, _NICHE if place.route else _BACK), offset, place.route)


def _in_niche(place: _Place) -> bool:
    return place.route == 0 and place.x == _NICHE


def _draw_scene() -> tuple[np.ndarray, np.ndarray]:
    """Walls and goal on mid-grey (H, W, 3) uint8, and which pixels they are, (H, W) bool."""
    wall, goal = np.zeros((2, _SIZE, _SIZE), bool)
    wall[23:41, 0:2] = True  # the corridor's beginning
    wall[23:41, 37:39] = True  # the dead end
    wall[23:41, 58:60] = True  # between the lanes' ends
    wall[23:25, 0:27] = True  # over the corridor
    wall[25:27, 24:27] = True  # the neck
    wall[23:25, 37:60] = True  # under the upper lane
    wall[7:25, 25:27] = True  # the upper lane's beginning
    wall[7:9, 25:64] = True  # over the upper lane
    wall |= wall[::-1]
    goal[9:55, 60:64] = True
    ground = np.full((_SIZE, _SIZE, 3), _GREY, np.uint8)
    ground[wall], ground[goal] = _WALL, _RED
    return ground, wall | goal


def _draw(ground: np.ndarray, scene: np.ndarray, place: _Place) -> tuple[np.ndarray, np.ndarray]:
    """The frame with a white disc in a black rim, whose smooth edges show parts of a pixel; and its foreground."""
    middle = _MIDDLE + place.route * _LANE
    top, left = int(middle + place.offset) - 6, int(place.x) - 6
    rows = np.arange(top, top + 13) + 0.5 - middle - place.offset
    columns = np.arange(left, left + 13) + 0.5 - place.x
    distance = np.hypot(rows[:, None], columns)[..., None]
    cover, white = (np.clip(radius + 0.5 - distance, 0, 1) for radius in (_RADIUS, _RADIUS - 1))
    frame, foreground, patch = ground.copy(), scene.copy(), np.s_[top : top + 13, left : left + 13]
    frame[patch] = np.rint(ground[patch] * (1 - cover) + 255 * white).astype(np.uint8)
    foreground[patch] |= cover[..., 0] > 0
    return frame, foreground


def _check_task(task: str) -> None:
    if task != _TASK:
        raise ConfigError(f"There is no task called {task!r} here. {did_you_mean(task, (_TASK,))}")

"""Bodies of the DeepMind Control Suite as worlds with exact truth: continuous actions, state and foreground told.

Needs `pip install 'flexlam[mujoco]'` and, on a machine without a screen, EGL. Floor, walls and sky are not drawn: the
body stands before mid-grey, so that overlays can take the place of the background (docs/worlds.md).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, SuiteError, did_you_mean
from flexlam.core.extras import ENDOGENOUS_STATE, GOAL_STATE
from flexlam.envs.base import Reference, Step
from flexlam.envs.dm_control_experts import EXPERTS, REFERENCES, Expert
from flexlam.envs.opengl import cannot_draw, import_drawing

ACTION_REPEAT = 4
"""Control steps of the physics for each decision; rewards are added up."""

TASKS = (
    "ball_in_cup-catch",
    "cartpole-balance",
    "cheetah-run",
    "finger-spin",
    "hopper-hop",
    "point_mass-easy",
    "reacher-easy",
    "walker-walk",
)

_SIZE = 64
_GREY = 128
_SCENE = ("target", "root")
"""Geoms of the world that belong to the foreground: what is to be reached, and what an arm hangs on."""
_DRAWN_RADIUS = {
    "ball_in_cup": {**{f"cup_part_{part}": 0.03 for part in range(5)}, "ball": 0.04},
    "point_mass": {"pointmass": 0.03},
    "reacher": {"arm": 0.03, "hand": 0.03, "finger": 0.03},
}
"""Domain -> geom -> metres, of what would be two pixels wide. In the picture alone: contacts are as they were."""
_HIDDEN_GROUP = 5  # MuJoCo draws the geoms of groups 0, 1 and 2


class DmControlSuite:
    """One task, named DOMAIN-TASK ("dm_control:cheetah-run"), 64×64 frames; an episode has 250 decisions.

    `Step.extras` tells `endogenous_state`, positions and velocities of the joints (qpos, qvel), and, where there is a
    target, its place (`goal_state`: x, y). Actions lie between -1 and 1. Cameras that follow a body show how it moves
    its limbs, not how far it gets.

    Raises:
        ConfigError: no task was named, there is no such task, or dm_control is not installed.
        SuiteError: there is no OpenGL to draw with.
    """

    frame_shape: tuple[int, int, int] = (_SIZE, _SIZE, 3)
    games_apart = False

    def __init__(self, env_id: str) -> None:
        if not env_id:
            known = ", ".join(TASKS)
            raise ConfigError(f"Which task? Name it after a colon, say dm_control:cheetah-run. Known: {known}.")
        _check_task(env_id)
        self.tasks: tuple[str, ...] = (env_id,)
        self.has_expert: bool = env_id in EXPERTS
        # What is wrong with MuJoCo or OpenGL comes to light in the first frame.
        with self.make(env_id) as environment:
            environment.reset(0)
            self.action_spec: ActionSpec = environment.action_spec
            self.fps: float = environment.fps

    def make(self, task: str) -> "DmControlEnvironment":
        """Start the physics.

        Raises:
            ConfigError: the task is another one.
            SuiteError: it cannot be started.
        """
        if task not in self.tasks:
            raise ConfigError(f"This suite has no task called {task!r}. {did_you_mean(task, self.tasks)}")
        return DmControlEnvironment(task)

    def reference(self, task: str) -> Reference | None:
        """Returns of the scripted expert and of random play; None where there is no expert."""
        return REFERENCES.get(task)


class DmControlEnvironment:
    """One running physics, of one thread."""

    def __init__(self, task: str) -> None:
        domain, _, name = task.partition("-")
        suite = _dm_control()
        self._env: Any = _drawing(partial(suite.load, domain, name, task_kwargs={"random": 0}))
        model = self._env.physics.model
        # Without these two a software renderer takes fifty times as long (anti-aliasing, shadows).
        model.vis.quality.offsamples, model.vis.quality.shadowsize = 0, 0
        bodies = np.asarray(model.geom_bodyid)
        names = [model.id2name(geom, "geom") for geom in range(model.ngeom)]
        ground = [body == 0 and name not in _SCENE for body, name in zip(bodies, names, strict=True)]
        model.geom_group[np.array(ground)] = _HIDDEN_GROUP
        wide = _DRAWN_RADIUS.get(domain, {})
        self._wide = np.array([names.index(name) for name in wide], np.intp)
        self._radii = np.array([*wide.values()])
        self._has_target = "target" in names
        self._expert: Expert | None = EXPERTS.get(task)
        spec = self._env.action_spec()
        self._low, self._high = np.asarray(spec.minimum, np.float64), np.asarray(spec.maximum, np.float64)
        self.action_spec = ActionSpec(num_continuous=spec.shape[0])
        self.fps = 1 / (self._env.control_timestep() * ACTION_REPEAT)
        self._last: Step | None = None
        self._over = True

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        env = self._opened()
        env.task.random.seed((seed ^ (seed >> 32)) & 0xFFFFFFFF)
        _drawing(env.reset)
        self._over = False
        self._last = self._observe(0.0)
        return self._last

    def step(self, action: np.ndarray) -> Step:
        """Execute an action (A,) for one decision; values are clipped to the bounds.

        Raises:
            SuiteError: the physics has diverged, or the episode is over.
            DataError: the action does not fit the spec.
        """
        if action.shape != (self.action_spec.num_dims,):
            raise DataError(f"step: the action has shape {action.shape}; expected ({self.action_spec.num_dims},).")
        self.action_spec.check(action, "step")
        env = self._opened()
        if self._over or self._last is None:
            raise SuiteError("The episode is over. Call `reset(seed)` first.")
        executed, reward = np.clip(action.astype(np.float64), self._low, self._high), 0.0
        for _ in range(ACTION_REPEAT):
            done = _drawing(partial(env.step, executed))
            reward += float(done.reward or 0.0)
            if done.last():
                self._over = True
                terminated = done.discount == 0
                return replace(self._last, reward=reward, terminated=terminated, truncated=not terminated)
        self._last = self._observe(reward)
        return self._last

    def expert_action(self) -> np.ndarray:
        """What the scripted expert would do now, (A,) float32.

        Raises:
            SuiteError: this task has none.
        """
        if self._expert is None:
            raise SuiteError(f"Only {', '.join(EXPERTS)} have a scripted expert. Record with --behaviour random.")
        return np.clip(self._expert(self._opened().physics), self._low, self._high).astype(np.float32)

    def legal_actions(self) -> np.ndarray:
        """(0,) bool: there are no choices."""
        return np.ones(0, bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(A,) float32: uniform between the bounds."""
        return generator.uniform(self._low, self._high).astype(np.float32)

    def close(self) -> None:
        """Free the physics; calling it twice does no harm."""
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Any:
        if self._env is None:
            raise SuiteError("The physics is closed. Make a new one with `suite.make(task)`.")
        return self._env

    def _observe(self, reward: float) -> Step:
        physics = self._env.physics
        render = partial(physics.render, _SIZE, _SIZE, camera_id=0)
        sizes = physics.model.geom_size
        true_radii = sizes[self._wide, 0].copy()
        sizes[self._wide, 0] = self._radii
        picture, drawn = _drawing(render), _drawing(partial(render, segmentation=True))
        sizes[self._wide, 0] = true_radii
        foreground = drawn[..., 0] >= 0  # -1 where there is no geom
        frame = np.where(foreground[..., None], picture, np.uint8(_GREY))
        state = np.concatenate([physics.data.qpos, physics.data.qvel]).astype(np.float32)
        extras = {ENDOGENOUS_STATE: state}
        if self._has_target:
            extras[GOAL_STATE] = physics.named.data.geom_xpos["target", :2].astype(np.float32)
        return Step(frame, reward, False, False, extras, foreground)


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ConfigError(f"There is no dm_control task called {task!r} here. {did_you_mean(task, TASKS)}")


def _dm_control() -> Any:
    return import_drawing("dm_control.suite", "dm_control", "pip install 'flexlam[mujoco]' (Python 3.11 or 3.12)")


def _drawing(work: Callable[[], Any]) -> Any:
    """Do something with the physics; what fails is told in our words."""
    try:
        return work()
    except Exception as error:
        if type(error).__name__ == "PhysicsError":
            raise SuiteError(f"The physics has diverged: {error}. Reset it.") from error
        raise cannot_draw(error) from error

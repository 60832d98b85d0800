"""Meta-World (Yu et al. 2019): a robot arm at a table, four continuous actions, 50 tasks with a scripted policy each.

Needs `pip install 'flexlam[metaworld]'` and, on a machine without a screen, EGL (docs/worlds.md).
"""

import warnings
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, SuiteError, did_you_mean
from flexlam.core.extras import ENDOGENOUS_STATE, GOAL_STATE
from flexlam.envs.base import Reference, Step
from flexlam.envs.opengl import cannot_draw, import_drawing

TASKS = ("button-press-topdown-v3", "door-open-v3", "drawer-open-v3", "pick-place-v3", "push-v3", "reach-v3")

EPISODE_LENGTH = 200
"""Decisions after which an episode is cut."""

REFERENCES = dict.fromkeys(TASKS, Reference(1.0, 0.0, 0.0, 0.0, 20))
"""Share of episodes with success, seeds 7000 to 7019, uniformly random actions; a test measures them anew.

The scripted policies always succeed, and random play never does.
"""

_SIZE = 64
_CAMERA, _ZOOM = "corner4", 45.0
"""The view from the side that work on pixels uses (there a moved `corner2`), nearer: degrees from top to bottom."""
_GOAL_RADIUS = 0.03
"""Metres, of marks that would be a pixel wide; they touch nothing, so that only the picture changes."""
_GROUND = ("world", "tablelink", "RetainingWall")
"""Bodies that belong to the background: floor, table and its rim."""
_STATE = 7
"""Of the observation: hand x, y, z, opening of the gripper, object x, y, z."""
_INSTALL = "pip install 'flexlam[metaworld]' (Python 3.11 to 3.13)"


class MetaworldSuite:
    """Six tasks ("metaworld"), or any one of Meta-World's 50 ("metaworld:assembly-v3"); 64×64 frames, 80 a second.

    The first success pays 1 and ends the episode, so the return is 1 or 0; without success it is cut after 200
    decisions. Actions lie between -1 and 1: a step of the hand along x, y and z, up to 1 cm, and the force that closes
    the gripper. `Step.extras` tells `endogenous_state` (hand x, y, z in metres, opening of the gripper from 0 to 1,
    object x, y, z) and `goal_state` (x, y, z). The foreground is arm, objects and the goal's mark; table, floor and
    wall are background.

    Raises:
        ConfigError: there is no such task, or Meta-World is not installed.
        SuiteError: there is no OpenGL to draw with.
    """

    action_spec = ActionSpec(num_continuous=4, names=("x", "y", "z", "gripper"))
    frame_shape = (_SIZE, _SIZE, 3)
    fps = 80.0
    has_expert = True
    games_apart = False

    def __init__(self, env_id: str = "") -> None:
        self.tasks: tuple[str, ...] = (env_id,) if env_id else TASKS
        # What is wrong with MuJoCo or OpenGL comes to light in the first frame.
        with self.make(self.tasks[0]) as environment:
            environment.reset(0)

    def make(self, task: str) -> "MetaworldEnvironment":
        """Start the physics.

        Raises:
            ConfigError: the task is another one.
            SuiteError: it cannot be started.
        """
        if task not in self.tasks:
            raise ConfigError(f"This suite has no task called {task!r}. {did_you_mean(task, self.tasks)}")
        return MetaworldEnvironment(task)

    def reference(self, task: str) -> Reference | None:
        """Success of the scripted policy and of random play; None for tasks where nobody has measured it."""
        return REFERENCES.get(task)


class MetaworldEnvironment:
    """One running physics, of one thread."""

    action_spec = MetaworldSuite.action_spec

    def __init__(self, task: str) -> None:
        self._mujoco = import_drawing("mujoco", "metaworld", _INSTALL)
        policies: dict[str, Any] = import_drawing("metaworld.policies", "metaworld", _INSTALL).ENV_POLICY_MAP
        if task not in policies:
            raise ConfigError(f"There is no Meta-World task called {task!r}. {did_you_mean(task, policies)}")
        self._policy = policies[task]()
        tasks = import_drawing("metaworld.env_dict", "metaworld", _INSTALL).ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
        self._env: Any = tasks[f"{task}-goal-observable"](seed=0)
        # Object and goal are placed anew by each reset, by the generator that `reset` sets.
        self._env._freeze_rand_vec, self._env.seeded_rand_vec = False, True
        model = self._env.model
        # Without the first two a software renderer takes ten times as long (anti-aliasing, shadows).
        model.vis.quality.offsamples, model.vis.quality.shadowsize = 0, 0
        model.cam(_CAMERA).fovy = _ZOOM
        for site in range(model.nsite):
            if "goal" in model.site(site).name:
                model.site_size[site] = np.maximum(model.site_size[site], _GOAL_RADIUS)
        ground = [model.body(body).name in _GROUND for body in range(model.nbody)]
        self._is_ground = np.array(ground)[np.asarray(model.geom_bodyid)]  # (number of geoms,)
        try:
            self._renderer: Any = self._mujoco.Renderer(model, _SIZE, _SIZE)
        except Exception as error:
            raise cannot_draw(error) from error
        self._renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._observation = np.empty(0)
        self._last: Step | None = None
        self._steps, self._over = 0, True

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        env = self._opened()
        env.np_random = np.random.default_rng(seed)
        self._mujoco.mj_resetData(env.model, env.data)
        env.reset()
        # Meta-World moves object and goal, and looks at them before MuJoCo has worked out where they are.
        self._mujoco.mj_kinematics(env.model, env.data)
        current = env._get_curr_obs_combined_no_goal()
        env._prev_obs = current
        self._observation = np.concatenate([current, current, env._get_pos_goal()])
        self._steps, self._over = 0, False
        self._last = self._observe()
        return self._last

    def step(self, action: np.ndarray) -> Step:
        """Execute an action (4,) for one decision; values are clipped to the bounds.

        Raises:
            SuiteError: the episode is over.
            DataError: the action does not fit the spec.
        """
        if action.shape != (4,):
            raise DataError(f"step: the action has shape {action.shape}; expected (4,).")
        self.action_spec.check(action, "step")
        env = self._opened()
        if self._over or self._last is None:
            raise SuiteError("The episode is over. Call `reset(seed)` first.")
        self._observation, _, _, _, info = env.step(np.clip(action, -1, 1))
        self._steps += 1
        success = bool(info["success"])
        self._over = success or self._steps == EPISODE_LENGTH
        if self._over:
            return replace(self._last, reward=float(success), terminated=success, truncated=not success)
        self._last = self._observe()
        return self._last

    def expert_action(self) -> np.ndarray:
        """What the scripted policy would do now, (4,) float32."""
        self._opened()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that what it wants lies beyond the bounds
            action = self._policy.get_action(self._observation)
        return np.clip(action, -1, 1).astype(np.float32)

    def legal_actions(self) -> np.ndarray:
        """(0,) bool: there are no choices."""
        return np.ones(0, bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(4,) float32: uniform between the bounds."""
        return generator.uniform(-1, 1, 4).astype(np.float32)

    def close(self) -> None:
        """Free the physics; calling it twice does no harm."""
        env, self._env = self._env, None
        if env is not None:
            self._renderer.close()
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

    def _observe(self) -> Step:
        frame, foreground = self._draw()
        goal = np.asarray(self._env._target_pos, np.float32)
        extras = {ENDOGENOUS_STATE: self._observation[:_STATE].astype(np.float32), GOAL_STATE: goal}
        return Step(frame, 0.0, False, False, extras, foreground)

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture (64, 64, 3) uint8 and which pixels are not ground, (64, 64) bool."""
        env, renderer = self._env, self._renderer
        for name, place in env._target_site_config:
            env._set_pos_site(name, place)
        try:
            renderer.update_scene(env.data, camera=_CAMERA)
            picture = renderer.render()
            renderer.enable_segmentation_rendering()
            drawn = renderer.render()  # (64, 64, 2): number and kind; -1 where there is nothing
            renderer.disable_segmentation_rendering()
        except Exception as error:
            raise cannot_draw(error) from error
        number, kind = drawn[..., 0], drawn[..., 1]
        is_geom = kind == self._mujoco.mjtObj.mjOBJ_GEOM
        ground = self._is_ground[np.where(is_geom, number, 0)]
        foreground = (number >= 0) & ~(is_geom & ground)
        # These cameras hang upside down.
        return picture[::-1, ::-1].copy(), foreground[::-1, ::-1].copy()

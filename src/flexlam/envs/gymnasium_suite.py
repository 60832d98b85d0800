"""Any registered Gymnasium environment as a suite of one task: its image observations, or what it renders."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import gymnasium
import numpy as np
from gymnasium import spaces
from PIL import Image

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, SuiteError, did_you_mean
from flexlam.envs.base import Reference, Step
from flexlam.envs.gymnasium_actions import Choices, Vector, translate

_DEFAULT_FPS = 30.0
_RENDER = "rgb_array"

# Most environments draw with pygame, whose state is one for the process and belongs to no thread.
_LOCK = threading.RLock()
_open_environments: "WeakSet[GymnasiumEnvironment]" = WeakSet()


class GymnasiumSuite:
    """One environment, named as `gymnasium.make` names it ("CartPole-v1", "module:Name-v0"); one decision a step.

    Frames are the observations when those are images ((H, W, 3) or (H, W, 1) uint8), else the rendered picture, shrunk
    to a square of `frame_size` pixels. There is no scripted expert and no expert/random table.

    Raises:
        ConfigError: no ID was given, or the frame size is not positive.
        SuiteError: there is no such environment, a package that it needs is missing, or its actions or frames cannot
            be used.
    """

    has_expert = False
    games_apart = False

    def __init__(self, env_id: str, frame_size: int = 64) -> None:
        if not env_id:
            raise ConfigError("Which Gymnasium environment? Give its ID after a colon, say gymnasium:CartPole-v1.")
        if env_id.count(":") > 1:
            raise ConfigError(f"{env_id!r} is no Gymnasium ID: expected [MODULE:][NAMESPACE/]NAME-vVERSION.")
        if frame_size < 1:
            raise ConfigError(f"The frame size is {frame_size}; expected 1 pixel or more.")
        self.tasks: tuple[str, ...] = (env_id,)
        self._frame_size = frame_size
        self._render_mode = None if _shows_images(env_id) else _RENDER
        # What is wrong with an environment comes to light in its first frame: a missing package, say.
        with self.make(env_id) as environment:
            self.frame_shape: tuple[int, int, int] = environment.reset(0).obs.shape
            self.action_spec: ActionSpec = environment.action_spec
            self.fps: float = environment.fps

    def make(self, task: str) -> "GymnasiumEnvironment":
        """Start the environment.

        Raises:
            ConfigError: the task is another one.
            SuiteError: the environment cannot be started.
        """
        if task not in self.tasks:
            raise ConfigError(f"This suite has no task called {task!r}. {did_you_mean(task, self.tasks)}")
        return GymnasiumEnvironment(task, self._render_mode, self._frame_size)

    def reference(self, task: str) -> Reference | None:
        """None: nobody has measured an expert."""
        return None


class GymnasiumEnvironment:
    """One running environment; `render_mode` None takes the frames from the observations.

    Environments of one process take turns, whatever thread they run in: for speed, use processes.
    """

    def __init__(self, env_id: str, render_mode: str | None, frame_size: int) -> None:
        self._env: Any = None
        self._rendered = render_mode is not None
        self._frame_size = frame_size
        self._obs: np.ndarray | None = None
        self._over = True
        with _LOCK:
            env = _make(env_id, render_mode)
            try:
                self._actions: Choices | Vector = translate(env.action_space, env_id)
            except SuiteError:
                _shut(env)
                raise
            self._env = env
            _open_environments.add(self)
        self.action_spec: ActionSpec = self._actions.spec
        self.fps = float(env.metadata.get("render_fps") or _DEFAULT_FPS)

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames where the environment allows it."""
        # Many environments hand the seed on to generators that take 31 bits.
        seed = (seed ^ (seed >> 31) ^ (seed >> 62)) & 0x7FFFFFFF
        observation, _ = self._call(lambda env: env.reset(seed=seed))
        self._obs = self._frame(observation)
        self._over = False
        return Step(self._obs, 0.0, False, False)

    def step(self, action: np.ndarray) -> Step:
        """Execute an action (A,) for one step; continuous dimensions are clipped to the bounds.

        Raises:
            SuiteError: the environment has crashed, or the episode is over.
            DataError: the action does not fit the spec.
        """
        if action.shape != (self.action_spec.num_dims,):
            raise DataError(f"step: the action has shape {action.shape}; expected ({self.action_spec.num_dims},).")
        self.action_spec.check(action, "step")
        if self._env is None or self._over:
            raise SuiteError("The episode is over (or the environment is closed). Call `reset(seed)` first.")
        executed = self._actions.execute(action)
        observation, reward, terminated, truncated, _ = self._call(lambda env: env.step(executed))
        self._over = bool(terminated or truncated)
        if not self._over:
            self._obs = self._frame(observation)
        assert self._obs is not None
        return Step(self._obs, float(reward), bool(terminated), bool(truncated))

    def expert_action(self) -> np.ndarray:
        """Raises SuiteError: nobody has written an expert."""
        raise SuiteError("Gymnasium environments have no scripted expert. Record with --behaviour random.")

    def legal_actions(self) -> np.ndarray:
        """(sum of num_choices,) bool, all true: Gymnasium's spaces know no other choices."""
        return np.ones(sum(self.action_spec.num_choices), bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(A,) float32: uniform over the choices and between bounds; standard normal without bounds."""
        return self._actions.sample(generator)

    def close(self) -> None:
        """End the environment; calling it twice does no harm."""
        with _LOCK:
            env, self._env = self._env, None
            _open_environments.discard(self)
            if env is not None:
                _shut(env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[[Any], Any]) -> Any:
        if self._env is None:
            raise SuiteError("The environment is closed. Make a new one with `suite.make(task)`.")
        with _LOCK:
            try:
                return method(self._env)
            except Exception as error:
                self.close()
                raise SuiteError(_explain(error, "The environment has crashed")) from error

    def _frame(self, observation: Any) -> np.ndarray:
        """(frame_size, frame_size, C) uint8, never a view of memory that the environment goes on using."""
        picture = self._call(lambda env: env.render()) if self._rendered else observation
        if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and _image_shape(picture.shape)):
            got = f"{picture.shape} {picture.dtype}" if isinstance(picture, np.ndarray) else type(picture).__name__
            self.close()
            raise SuiteError(f"The environment's picture is {got}; expected (H, W, 3) or (H, W, 1) uint8.")
        return shrink(picture, self._frame_size)


def shrink(picture: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 1 or 3) -> (size, size, 1 or 3) uint8, the average of the area that each pixel covers; always a copy."""
    if picture.shape[:2] == (size, size):
        return picture.copy()
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return np.array(image.resize((size, size), Image.Resampling.BOX)).reshape(size, size, -1)


def _image_shape(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and min(shape) > 0 and shape[2] in (1, 3)


def _shows_images(env_id: str) -> bool:
    """Whether the observations are images.

    Raises:
        SuiteError: the environment cannot be made, or it neither observes nor renders images.
    """
    with _LOCK:
        env = _make(env_id, None)
        try:
            space, modes = env.observation_space, tuple(env.metadata.get("render_modes") or ())
        finally:
            _shut(env)
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and _image_shape(space.shape):
        return True
    if _RENDER in modes:
        return False
    raise SuiteError(
        f"{env_id} has no frames: its observations ({space}) are no images of (H, W, 3) or (H, W, 1) uint8, and it "
        f"renders {', '.join(map(str, modes)) or 'nothing'}, not {_RENDER!r}. Register a wrapped environment that does."
    )


def _make(env_id: str, render_mode: str | None) -> Any:
    _keep_pygame_quiet()
    try:
        return gymnasium.make(env_id, render_mode=render_mode, disable_env_checker=True)
    except gymnasium.error.DeprecatedEnv as error:
        raise SuiteError(str(error)) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise SuiteError(
            f"There is no Gymnasium environment {env_id!r}. "
            f"{did_you_mean(env_id.rpartition(':')[2], gymnasium.registry)} Those of other packages are named with "
            "the module that registers them: gymnasium:MODULE:ID, say gymnasium:ale_py:ALE/Pong-v5."
        ) from error
    except Exception as error:
        raise SuiteError(_explain(error, f"The Gymnasium environment {env_id!r} cannot be started")) from error


def _explain(error: Exception, what: str) -> str:
    """What went wrong, and what to install when that is the cure."""
    said = str(error) or type(error).__name__
    missing: str | None = getattr(error, "name", None) or getattr(error.__cause__, "name", None)
    told = isinstance(error, gymnasium.error.DependencyNotInstalled) or "pip install" in said
    hint = ""
    if isinstance(error, ModuleNotFoundError) and missing and not told:
        hint = f" Install it with: pip install {missing.partition('.')[0]}"
    return f"{what}: {said.rstrip('.')}.{hint}"


def _keep_pygame_quiet() -> None:
    """No greeting on standard output, no sound card, and no search for a display where there is none."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    if sys.platform == "linux" and not ({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _shut(env: Any) -> None:
    with _pygame_kept(), contextlib.suppress(Exception):
        env.close()


@contextlib.contextmanager
def _pygame_kept() -> Iterator[None]:
    """Environments end pygame for the whole process when they close; not while others are open."""
    pygame: Any = sys.modules.get("pygame")
    modules = (pygame, pygame.display) if pygame is not None and len(_open_environments) else ()
    quits = [module.quit for module in modules]
    try:
        for module in modules:
            module.quit = lambda: None
        yield
    finally:
        for module, original in zip(modules, quits, strict=True):
            module.quit = original

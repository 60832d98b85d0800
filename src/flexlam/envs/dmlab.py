"""DeepMind Lab, as the paper uses it: 16 tasks, 64×64 pixels, nine actions, one decision every four frames.

The package `deepmind_lab` is not on PyPI; it is built from its own repository. Tasks and action set were recovered
from the public dataset that the paper's data come from and from its recorder (docs/fidelity.md).
"""

from importlib import import_module
from types import TracebackType
from typing import Any, Self

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, SuiteError, did_you_mean
from flexlam.envs.base import Reference, Step

ACTIONS: dict[str, tuple[int, int, int, int, int, int, int]] = {
    "forward": (0, 0, 0, 1, 0, 0, 0),
    "back": (0, 0, 0, -1, 0, 0, 0),
    "left": (0, 0, -1, 0, 0, 0, 0),
    "right": (0, 0, 1, 0, 0, 0, 0),
    "look_left": (-20, 0, 0, 0, 0, 0, 0),
    "look_right": (20, 0, 0, 0, 0, 0, 0),
    "forward+look_left": (-20, 0, 0, 1, 0, 0, 0),
    "forward+look_right": (20, 0, 0, 1, 0, 0, 0),
    "fire": (0, 0, 0, 0, 1, 0, 0),
}
"""Name -> look left/right and down/up in pixels a frame, strafe, move, fire, jump, crouch (the set of IMPALA)."""

TASKS = (
    "explore_goal_locations_large",
    "explore_goal_locations_small",
    "explore_object_locations_large",
    "explore_object_locations_small",
    "explore_object_rewards_few",
    "explore_object_rewards_many",
    "explore_obstructed_goals_large",
    "explore_obstructed_goals_small",
    "language_execute_random_task",
    "lasertag_one_opponent_large",
    "lasertag_one_opponent_small",
    "lasertag_three_opponents_large",
    "natlab_varying_map_regrowth",
    "psychlab_sequential_comparison",
    "psychlab_visual_search",
    "rooms_watermaze",
)
NORMALISED = tuple(task for task in TASKS if not task.startswith(("language", "lasertag", "natlab")))
"""The 11 tasks whose returns the paper normalises (App. A.2)."""

_EXPERTS = {
    "explore_goal_locations_large": 158.82,
    "explore_goal_locations_small": 368.09,
    "explore_obstructed_goals_small": 269.45,
    "psychlab_visual_search": 39.85,
}
"""Returns of the recorded experts as the dataset's card prints them; the card's other rows could not be found."""

_FRAME_SKIP = 4
_SIZE = 64
_OBSERVATION = "RGB_INTERLEAVED"


class DmlabSuite:
    """The paper's 16 tasks. There is no scripted expert; experts' data come as a dataset.

    Normalised returns are R / expert as in the paper (App. A.2): the random return counts as 0.
    """

    tasks: tuple[str, ...] = TASKS
    action_spec = ActionSpec(num_choices=(len(ACTIONS),), names=tuple(ACTIONS))
    frame_shape = (_SIZE, _SIZE, 3)
    fps = 60 / _FRAME_SKIP
    has_expert = False
    games_apart = False

    def make(self, task: str) -> "DmlabEnvironment":
        """Start the game of a task.

        Raises:
            ConfigError: there is no such task, or `deepmind_lab` is not installed.
            SuiteError: the game cannot be started.
        """
        _check_task(task)
        return DmlabEnvironment(task)

    def reference(self, task: str) -> Reference | None:
        """The expert's return, without errors; None where the card's row could not be found."""
        _check_task(task)
        expert = _EXPERTS.get(task)
        return None if expert is None else Reference(expert, 0.0, 0.0, 0.0, 0)


class DmlabEnvironment:
    """One running game."""

    action_spec = DmlabSuite.action_spec

    def __init__(self, task: str) -> None:
        try:
            lab = import_module("deepmind_lab")
        except ModuleNotFoundError as error:
            raise ConfigError(
                "The suite 'dmlab' needs the package 'deepmind_lab', which is not on PyPI. Build it from "
                "https://github.com/google-deepmind/lab (python/pip_package)."
            ) from error
        config = {"width": str(_SIZE), "height": str(_SIZE), "logLevel": "WARN"}
        try:
            self._lab: Any = lab.Lab(f"contributed/dmlab30/{task}", [_OBSERVATION], config)
        except Exception as error:
            raise SuiteError(f"DeepMind Lab could not start {task}: {error}") from error
        self._actions = [np.array(action, np.intc) for action in ACTIONS.values()]
        self._obs: np.ndarray | None = None

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        self._call("reset", seed=(seed ^ (seed >> 31) ^ (seed >> 62)) & 0x7FFFFFFF)
        return self._observe(0.0)

    def step(self, action: np.ndarray) -> Step:
        """Repeat an action for four frames.

        Raises:
            SuiteError: the game has crashed, or the episode is over.
            DataError: the action does not fit the spec.
        """
        self.action_spec.check(action, "step")
        if self._lab is None or self._obs is None or not self._call("is_running"):
            raise SuiteError("The episode is over (or the game is closed). Call `reset(seed)` first.")
        return self._observe(float(self._call("step", self._actions[int(action[0])], num_steps=_FRAME_SKIP)))

    def expert_action(self) -> np.ndarray:
        """Raises SuiteError: there is no scripted expert."""
        raise SuiteError("DeepMind Lab has no scripted expert. Record with --behaviour random, or use the dataset.")

    def legal_actions(self) -> np.ndarray:
        """(9,) bool, all true: every task takes every action."""
        return np.ones(len(ACTIONS), bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(1,) float32: uniform."""
        return np.array([generator.integers(len(ACTIONS))], np.float32)

    def close(self) -> None:
        """End the game; calling it twice does no harm."""
        lab, self._lab = self._lab, None
        if lab is not None:
            lab.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _observe(self, reward: float) -> Step:
        """The game shows nothing after the last step of an episode: the last frame again."""
        running = bool(self._call("is_running"))
        if running:
            self._obs = np.array(self._call("observations")[_OBSERVATION], np.uint8)
        assert self._obs is not None
        return Step(self._obs, reward, not running, False)

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        if self._lab is None:
            raise SuiteError("The game is closed. Make a new one with `suite.make(task)`.")
        try:
            return getattr(self._lab, method)(*arguments, **named)
        except Exception as error:
            self.close()
            raise SuiteError(f"DeepMind Lab has crashed: {error}") from error


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ConfigError(f"There is no DeepMind Lab task called {task!r}. {did_you_mean(task, TASKS)}")

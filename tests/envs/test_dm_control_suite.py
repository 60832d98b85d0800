"""The bodies of dm_control; without the package, what says so (`make test-mujoco` installs it)."""

import ctypes.util
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_STATE, GOAL_STATE
from flexlam.envs import dm_control_suite, opengl
from flexlam.envs.base import Step, open_suite
from flexlam.envs.dm_control_suite import TASKS, DmControlSuite
from flexlam.envs.overlay import OverlaySuite
from flexlam.envs.waves import Waves

INSTALLED = importlib.util.find_spec("dm_control") is not None
NEEDS_MUJOCO = pytest.mark.skipif(not INSTALLED, reason="needs dm_control: make test-mujoco")
NEEDS_EGL = pytest.mark.skipif(
    INSTALLED and sys.platform == "linux" and ctypes.util.find_library("EGL") is None,
    reason="needs EGL: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri",
)
WIDTHS = {  # of actions, of states
    "ball_in_cup-catch": (2, 8),
    "cartpole-balance": (1, 4),
    "cheetah-run": (6, 18),
    "finger-spin": (2, 6),
    "hopper-hop": (4, 14),
    "point_mass-easy": (2, 4),
    "reacher-easy": (2, 4),
    "walker-walk": (6, 18),
}


def run(task: str, seed: int, num_steps: int) -> list[Step]:
    generator = np.random.default_rng(seed)
    with DmControlSuite(task).make(task) as environment:
        steps = [environment.reset(seed)]
        for _ in range(num_steps):
            steps.append(environment.step(environment.sample_action(generator)))
    return steps


@NEEDS_MUJOCO
@NEEDS_EGL
@pytest.mark.parametrize("task", TASKS)
def test_every_task_shows_its_body_alone_and_tells_its_state(task: str) -> None:
    suite = open_suite(f"dm_control:{task}")
    assert suite.tasks == (task,) and suite.frame_shape == (64, 64, 3)
    assert 10 <= suite.fps <= 25
    steps = run(task, 0, 12)
    for step in steps:
        assert step.obs.dtype == np.uint8 and step.obs.shape == (64, 64, 3)
        assert step.foreground is not None and 0.004 < step.foreground.mean() < 0.2
        assert (step.obs[~step.foreground] == 128).all()
        assert (step.obs[step.foreground] != 128).any(-1).mean() > 0.9
        assert step.extras[ENDOGENOUS_STATE].dtype == np.float32
        assert (GOAL_STATE in step.extras) == (task in ("point_mass-easy", "reacher-easy"))
    widths = (suite.action_spec.num_continuous, len(steps[0].extras[ENDOGENOUS_STATE]))
    assert widths == WIDTHS[task]
    assert any((step.obs != steps[0].obs).any() for step in steps[1:])


@NEEDS_MUJOCO
@NEEDS_EGL
@pytest.mark.parametrize("task", ["cheetah-run", "reacher-easy"])
def test_the_same_seed_and_actions_give_the_same_frames_whatever_was_before(task: str) -> None:
    first = run(task, 3, 10)
    generator = np.random.default_rng(3)
    with DmControlSuite(task).make(task) as environment:
        environment.reset(9)
        for _ in range(7):
            environment.step(np.ones(environment.action_spec.num_dims, np.float32))
        again = [environment.reset(3)]
        again += [environment.step(environment.sample_action(generator)) for _ in range(10)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.extras[ENDOGENOUS_STATE], other.extras[ENDOGENOUS_STATE])
        assert one.reward == other.reward
    assert (run(task, 4, 0)[0].obs != first[0].obs).any()


@NEEDS_MUJOCO
@NEEDS_EGL
@pytest.mark.parametrize("task", ["ball_in_cup-catch", "reacher-easy"])
def test_what_is_thin_is_drawn_wide_and_moves_as_it_would_have(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = run(task, 5, 40)
    monkeypatch.setattr(dm_control_suite, "_DRAWN_RADIUS", {})
    thin = run(task, 5, 40)
    for one, other in zip(drawn, thin, strict=True):
        assert one.foreground is not None and other.foreground is not None
        assert one.foreground.sum() > other.foreground.sum() + 60, "pixels"
        np.testing.assert_array_equal(one.extras[ENDOGENOUS_STATE], other.extras[ENDOGENOUS_STATE])


@NEEDS_MUJOCO
@NEEDS_EGL
def test_an_overlay_is_a_backdrop_of_the_body() -> None:
    suite = OverlaySuite(DmControlSuite("walker-walk"), [Waves(Waves.Config())])
    clean = run("walker-walk", 2, 0)[0]
    with suite.make("walker-walk") as environment:
        step = environment.reset(2)
    assert step.foreground is not None and EXOGENOUS_STATE in step.extras
    np.testing.assert_array_equal(step.obs[step.foreground], clean.obs[clean.foreground])
    assert step.obs[~step.foreground].std() > 60


@NEEDS_MUJOCO
@NEEDS_EGL
def test_an_episode_has_250_decisions_and_ends_with_its_last_frame() -> None:
    with DmControlSuite("cartpole-balance").make("cartpole-balance") as environment:
        steps = [environment.reset(0)]
        while not (steps[-1].terminated or steps[-1].truncated):
            steps.append(environment.step(environment.expert_action()))
        assert len(steps) == 251 and steps[-1].truncated
        np.testing.assert_array_equal(steps[-1].obs, steps[-2].obs)
        assert sum(step.reward for step in steps) > 950
        with pytest.raises(SuiteError, match="episode is over"):
            environment.step(np.zeros(1, np.float32))


@NEEDS_MUJOCO
@NEEDS_EGL
def test_actions_are_checked_and_clipped() -> None:
    suite = DmControlSuite("hopper-hop")
    assert not suite.has_expert and suite.reference("hopper-hop") is None
    assert DmControlSuite("reacher-easy").has_expert
    with suite.make("hopper-hop") as environment:
        environment.reset(0)
        far = environment.step(np.full(4, 50, np.float32)).extras[ENDOGENOUS_STATE]
        environment.reset(0)
        np.testing.assert_array_equal(environment.step(np.ones(4, np.float32)).extras[ENDOGENOUS_STATE], far)
        with pytest.raises(DataError, match=r"shape \(2,\); expected \(4,\)"):
            environment.step(np.zeros(2, np.float32))
        with pytest.raises(DataError, match="NaN"):
            environment.step(np.full(4, np.nan, np.float32))
        with pytest.raises(SuiteError, match="behaviour random"):
            environment.expert_action()
        drawn = np.stack([environment.sample_action(np.random.default_rng(seed)) for seed in range(50)])
        assert drawn.shape == (50, 4) and 0.8 < np.abs(drawn).max() <= 1 and environment.legal_actions().shape == (0,)
        with pytest.raises(ConfigError, match="no task called"):
            suite.make("walker-walk")
    with pytest.raises(SuiteError, match="closed"):
        environment.reset(0)
    environment.close()


@NEEDS_MUJOCO
@NEEDS_EGL
def test_physics_that_diverges_is_told() -> None:
    with DmControlSuite("cheetah-run").make("cheetah-run") as environment:
        environment.reset(0)
        environment._env.physics.data.qvel[:] = np.nan
        with pytest.raises(SuiteError, match="diverged"):
            environment.step(np.zeros(6, np.float32))


def test_a_task_has_to_be_named_and_known() -> None:
    with pytest.raises(ConfigError, match=r"Which task.*dm_control:cheetah-run"):
        open_suite("dm_control")
    with pytest.raises(ConfigError, match="Did you mean 'cheetah-run'"):
        open_suite("dm_control:cheetah-runs")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    with pytest.raises(ConfigError, match=r"needs the package 'dm_control.*pip install 'flexlam\[mujoco\]'"):
        DmControlSuite("cheetah-run")


@pytest.mark.parametrize("where", ["import", "first frame"])
def test_missing_opengl_is_told_with_what_to_install(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    def load(name: str) -> ModuleType:
        if where == "import":
            fail()
        module = ModuleType(name)
        module.load = fail  # type: ignore[attr-defined]
        return module

    loader: Callable[[str], ModuleType] = load
    monkeypatch.setattr(opengl, "import_module", loader)
    with pytest.raises(SuiteError, match=r"eglQueryString.*apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"):
        DmControlSuite("cheetah-run")

"""Meta-World's arm; without the package, what says so (`make test-mujoco` installs it)."""

import ctypes.util
import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from flexlam.acting.baselines import BehaviourActor
from flexlam.acting.collect import Expert
from flexlam.acting.rollout import Arena
from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_STATE, GOAL_STATE
from flexlam.core.seeding import numpy_generator
from flexlam.envs import opengl
from flexlam.envs.base import Step, open_suite
from flexlam.envs.metaworld_suite import EPISODE_LENGTH, REFERENCES, TASKS, MetaworldEnvironment, MetaworldSuite
from flexlam.envs.overlay import OverlaySuite
from flexlam.envs.waves import Waves

INSTALLED = importlib.util.find_spec("metaworld") is not None
NEEDS_METAWORLD = pytest.mark.skipif(not INSTALLED, reason="needs metaworld: make test-mujoco")
NEEDS_EGL = pytest.mark.skipif(
    INSTALLED and sys.platform == "linux" and ctypes.util.find_library("EGL") is None,
    reason="needs EGL: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri",
)


def run(environment: MetaworldEnvironment, seed: int, num_steps: int) -> list[Step]:
    generator = np.random.default_rng(seed)
    steps = [environment.reset(seed)]
    for _ in range(num_steps):
        steps.append(environment.step(environment.sample_action(generator)))
    return steps


@NEEDS_METAWORLD
@NEEDS_EGL
@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_settled_by_seed_and_actions_whatever_was_before(task: str) -> None:
    suite = open_suite(f"metaworld:{task}")
    assert suite.tasks == (task,) and suite.frame_shape == (64, 64, 3) and suite.fps == 80
    with suite.make(task) as environment:
        first = run(environment, 3, 6)
        run(environment, 9, 12)
        again = run(environment, 3, 6)
        others = [environment.reset(seed) for seed in (4, 5)]
    with suite.make(task) as environment:
        fresh = run(environment, 3, 6)
    for one, *same in zip(first, again, fresh, strict=True):
        for other in same:
            np.testing.assert_array_equal(one.obs, other.obs)
            np.testing.assert_array_equal(one.foreground, other.foreground)
            for name, values in one.extras.items():
                np.testing.assert_array_equal(values, other.extras[name])
        assert one.obs.dtype == np.uint8 and one.obs.shape == (64, 64, 3)
        assert one.extras[ENDOGENOUS_STATE].shape == (7,) and one.extras[GOAL_STATE].shape == (3,)
        assert {values.dtype for values in one.extras.values()} == {np.dtype(np.float32)}
        assert one.foreground is not None and 0.1 < one.foreground.mean() < 0.5
    assert any((step.obs != first[0].obs).any() for step in first[1:])
    for other in others:
        assert (other.obs != first[0].obs).any()
        assert (other.extras[GOAL_STATE] != first[0].extras[GOAL_STATE]).any()


@NEEDS_METAWORLD
@NEEDS_EGL
def test_the_state_of_the_first_frame_is_the_one_that_is_shown() -> None:
    """Meta-World itself reports where the drawer was before it was moved."""
    with MetaworldSuite("drawer-open-v3").make("drawer-open-v3") as environment:
        for seed in range(3):
            before, after = run(environment, seed, 1)
            np.testing.assert_allclose(before.extras[ENDOGENOUS_STATE], after.extras[ENDOGENOUS_STATE], atol=0.01)
            handle = before.extras[ENDOGENOUS_STATE][4:] - environment._env.model.body("drawer").pos
            np.testing.assert_allclose(handle, [0, -0.17, 0.09], rtol=0, atol=1e-6)


@NEEDS_METAWORLD
@NEEDS_EGL
def test_the_hand_goes_where_the_actions_say() -> None:
    with MetaworldSuite("reach-v3").make("reach-v3") as environment:
        for axis in range(3):
            for sign in (-1, 1):
                start = environment.reset(0).extras[ENDOGENOUS_STATE]
                action = np.zeros(4, np.float32)
                action[axis] = sign
                for _ in range(5):
                    step = environment.step(action)
                moved = step.extras[ENDOGENOUS_STATE][:3] - start[:3]
                assert np.argmax(np.abs(moved)) == axis and 0.01 < sign * moved[axis] < 0.051
        opening = environment.reset(0).extras[ENDOGENOUS_STATE][3]
        for _ in range(10):
            step = environment.step(np.array([0, 0, 0, 1], np.float32))
        assert step.extras[ENDOGENOUS_STATE][3] < opening - 0.3


@NEEDS_METAWORLD
@NEEDS_EGL
def test_goals_are_marked_and_no_overlay_hides_arm_or_goal() -> None:
    suite = OverlaySuite(MetaworldSuite("push-v3"), [Waves(Waves.Config())])
    with suite.make("push-v3") as environment:
        step = environment.reset(2)
    with MetaworldSuite("push-v3").make("push-v3") as environment:
        clean = environment.reset(2)
    assert clean.foreground is not None
    red, green, blue = np.moveaxis(clean.obs.astype(int), -1, 0)
    marked = (green > 150) & (red < 60) & (blue < 60)
    assert 4 <= marked.sum() < 40 and clean.foreground[marked].all()
    assert step.foreground is not None and EXOGENOUS_STATE in step.extras
    np.testing.assert_array_equal(step.foreground, clean.foreground)
    np.testing.assert_array_equal(step.obs[step.foreground], clean.obs[clean.foreground])
    assert (step.obs != clean.obs)[~step.foreground].mean() > 0.9


@NEEDS_METAWORLD
@NEEDS_EGL
def test_the_first_success_pays_one_and_ends_the_episode() -> None:
    with MetaworldSuite("reach-v3").make("reach-v3") as environment:
        steps = [environment.reset(0)]
        while not (steps[-1].terminated or steps[-1].truncated):
            steps.append(environment.step(environment.expert_action()))
        assert steps[-1].terminated and not steps[-1].truncated
        assert [step.reward for step in steps] == [0] * (len(steps) - 1) + [1] and len(steps) < 100
        np.testing.assert_array_equal(steps[-1].obs, steps[-2].obs)
        reached = steps[-1].extras
        assert np.linalg.norm(reached[ENDOGENOUS_STATE][:3] - reached[GOAL_STATE]) < 0.1
        with pytest.raises(SuiteError, match="episode is over"):
            environment.step(np.zeros(4, np.float32))


@NEEDS_METAWORLD
@NEEDS_EGL
def test_an_episode_without_success_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_draw(monkeypatch)
    with MetaworldSuite("push-v3").make("push-v3") as environment:
        steps = [environment.reset(0)]
        while not (steps[-1].terminated or steps[-1].truncated):
            steps.append(environment.step(np.zeros(4, np.float32)))
    assert len(steps) == EPISODE_LENGTH + 1 == 201 and steps[-1].truncated
    assert not any(step.reward for step in steps)


def do_not_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: MetaworldEnvironment) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)

    monkeypatch.setattr(MetaworldEnvironment, "_draw", nothing)


@NEEDS_METAWORLD
@NEEDS_EGL
@pytest.mark.parametrize("task", TASKS)
def test_the_shipped_references_are_what_is_measured(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_draw(monkeypatch)
    suite = MetaworldSuite(task)
    reference = suite.reference(task)
    assert reference == REFERENCES[task] and suite.has_expert
    with suite.make(task) as environment:
        for at_random, mean in ((False, reference.expert), (True, reference.random)):
            returns = []
            for seed in range(7000, 7000 + reference.num_episodes):
                generator, step, total = numpy_generator(seed, "reference"), environment.reset(seed), 0.0
                while not (step.terminated or step.truncated):
                    action = environment.sample_action(generator) if at_random else environment.expert_action()
                    step = environment.step(action)
                    total += step.reward
                returns.append(total)
            assert abs(np.mean(returns) - mean) <= 0.05, "another processor may round otherwise, but not that much"


@NEEDS_METAWORLD
@NEEDS_EGL
def test_any_task_of_meta_world_is_reached_by_name() -> None:
    suite = open_suite("metaworld:hammer-v3")
    assert suite.tasks == ("hammer-v3",) and suite.reference("hammer-v3") is None
    with suite.make("hammer-v3") as environment:
        environment.reset(0)
        assert environment.step(environment.expert_action()).extras[ENDOGENOUS_STATE].shape == (7,)
    assert open_suite("metaworld").tasks == TASKS and len(TASKS) == 6
    with pytest.raises(ConfigError, match="Did you mean 'hammer-v3'"):
        open_suite("metaworld:hammer-v2")


@NEEDS_METAWORLD
@NEEDS_EGL
def test_several_games_are_played_at_once() -> None:
    with Arena(MetaworldSuite("reach-v3"), "reach-v3", 2) as arena:
        episodes = arena.play(lambda slots: BehaviourActor(Expert), 2, 0)
    assert [episode.episode_return for episode in episodes] == [1.0, 1.0]


@NEEDS_METAWORLD
@NEEDS_EGL
def test_misuse_is_refused() -> None:
    suite = MetaworldSuite("reach-v3")
    with pytest.raises(ConfigError, match="no task called"):
        suite.make("push-v3")
    environment = suite.make("reach-v3")
    with pytest.raises(SuiteError, match="reset"):
        environment.step(np.zeros(4, np.float32))
    environment.reset(0)
    far = environment.step(np.full(4, 50, np.float32)).extras[ENDOGENOUS_STATE]
    environment.reset(0)
    np.testing.assert_array_equal(environment.step(np.ones(4, np.float32)).extras[ENDOGENOUS_STATE], far)
    with pytest.raises(DataError, match=r"shape \(2,\); expected \(4,\)"):
        environment.step(np.zeros(2, np.float32))
    with pytest.raises(DataError, match="NaN"):
        environment.step(np.full(4, np.nan, np.float32))
    drawn = np.stack([environment.sample_action(np.random.default_rng(seed)) for seed in range(50)])
    assert drawn.shape == (50, 4) and drawn.dtype == np.float32 and 0.8 < np.abs(drawn).max() <= 1
    assert environment.legal_actions().shape == (0,)
    environment.close()
    environment.close()
    with pytest.raises(SuiteError, match="closed"):
        environment.reset(0)


@pytest.mark.parametrize("missing", ["mujoco", "metaworld.policies"])
def test_a_missing_package_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=r"needs the package '(mujoco|metaworld).*pip install 'flexlam\[metaworld\]'"):
        MetaworldSuite()


def test_missing_opengl_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    loader: Any = fail
    monkeypatch.setattr(opengl, "import_module", loader)
    with pytest.raises(SuiteError, match=r"eglQueryString.*apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"):
        MetaworldSuite()

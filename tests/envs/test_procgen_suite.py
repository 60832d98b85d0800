"""Procgen's games; without the package, what says so (`make test-procgen` installs it)."""

import ctypes.util
import importlib.util

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.core.extras import ENDOGENOUS_STATE
from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Step, open_suite
from flexlam.envs.procgen_suite import ACTIONS, EXPERTS, REFERENCES, TASKS, ProcgenEnvironment, ProcgenSuite

INSTALLED = importlib.util.find_spec("procgen") is not None
NEEDS_PROCGEN = pytest.mark.skipif(not INSTALLED, reason="needs procgen-mirror: make test-procgen")
NEEDS_GL = pytest.mark.skipif(
    INSTALLED and ctypes.util.find_library("GL") is None, reason="needs libGL.so.1: apt-get install libgl1"
)


def run(environment: ProcgenEnvironment, seed: int, num_steps: int) -> list[Step]:
    generator = np.random.default_rng(seed)
    steps = [environment.reset(seed)]
    while len(steps) <= num_steps and not (steps[-1].terminated or steps[-1].truncated):
        steps.append(environment.step(environment.sample_action(generator)))
    return steps


def choice(name: str) -> np.ndarray:
    return np.array([ACTIONS.index(name)], np.float32)


@NEEDS_PROCGEN
@NEEDS_GL
@pytest.mark.parametrize("task", TASKS)
def test_every_game_is_settled_by_seed_and_actions_whatever_was_before(task: str) -> None:
    with ProcgenSuite().make(task) as environment:
        steps = run(environment, 3, 12)
        other = run(environment, 4, 12)
        again = run(environment, 3, 12)
    assert len(steps) == len(again) >= 2
    for one, same in zip(steps, again, strict=True):
        assert one.obs.dtype == np.uint8 and one.obs.shape == (64, 64, 3)
        np.testing.assert_array_equal(one.obs, same.obs)
        np.testing.assert_array_equal(one.extras[ENDOGENOUS_STATE], same.extras[ENDOGENOUS_STATE])
        assert (one.reward, one.terminated, one.truncated) == (same.reward, same.terminated, same.truncated)
    assert any((one.obs != different.obs).any() for one, different in zip(steps, other, strict=False))
    assert any((one.obs != steps[0].obs).any() for one in steps[1:])


@NEEDS_PROCGEN
@NEEDS_GL
@pytest.mark.parametrize(("name", "axis", "sign"), [("right", 0, 1), ("left", 0, -1), ("up", 1, 1), ("down", 1, -1)])
def test_the_agent_goes_where_the_actions_say(name: str, axis: int, sign: int) -> None:
    with ProcgenSuite("starpilot").make("starpilot") as environment:
        before = environment.reset(3).extras[ENDOGENOUS_STATE]
        after = environment.step(choice(name)).extras[ENDOGENOUS_STATE]
    assert before.dtype == np.float32 and before.shape == (4,)
    moved = after[:2] - before[:2]
    assert sign * moved[axis] > 0.1 and moved[1 - axis] == 0
    np.testing.assert_allclose(np.sign(after[2 + axis]), sign)


@NEEDS_PROCGEN
@NEEDS_GL
def test_the_mouse_finds_the_cheese_and_that_ends_the_episode() -> None:
    suite = open_suite("procgen:maze")
    assert suite.has_expert and suite.tasks == ("maze",) and suite.action_spec.num_choices == (15,)
    with suite.make("maze") as environment:
        steps = [environment.reset(11)]
        while not (steps[-1].terminated or steps[-1].truncated):
            steps.append(environment.step(environment.expert_action()))
        places = np.stack([step.extras[ENDOGENOUS_STATE][:2] for step in steps[:-1]])
        moves = np.abs(np.diff(places, axis=0)).sum(1)
        assert len(moves) > 3 and (moves == 1).all()
        assert steps[-1].reward == 10 and steps[-1].terminated and not steps[-1].truncated
        np.testing.assert_array_equal(steps[-1].obs, steps[-2].obs)
        with pytest.raises(SuiteError, match="episode is over"):
            environment.step(choice("stay"))
        with pytest.raises(SuiteError, match="episode is over"):
            environment.expert_action()


@NEEDS_PROCGEN
@NEEDS_GL
def test_an_episode_that_runs_out_of_time_is_cut() -> None:
    with ProcgenSuite("maze").make("maze") as environment:
        steps = [environment.reset(0)]
        while not (steps[-1].terminated or steps[-1].truncated):
            steps.append(environment.step(choice("stay")))
    assert len(steps) == 501 and steps[-1].truncated and steps[-1].reward == 0


@NEEDS_PROCGEN
@NEEDS_GL
@pytest.mark.parametrize("task", EXPERTS)
def test_the_shipped_references_are_what_is_measured(task: str) -> None:
    suite = ProcgenSuite(task)
    reference = suite.reference(task)
    assert reference == REFERENCES[task]
    with suite.make(task) as environment:
        for at_random, mean, stderr in (
            (False, reference.expert, reference.expert_stderr),
            (True, reference.random, reference.random_stderr),
        ):
            returns = []
            for seed in range(7000, 7000 + reference.num_episodes):
                generator, step, total = numpy_generator(seed, "reference"), environment.reset(seed), 0.0
                while not (step.terminated or step.truncated):
                    action = environment.sample_action(generator) if at_random else environment.expert_action()
                    step = environment.step(action)
                    total += step.reward
                returns.append(total)
            assert np.mean(returns) == pytest.approx(mean, abs=1e-4)
            assert np.std(returns, ddof=1) / np.sqrt(len(returns)) == pytest.approx(stderr, abs=1e-4)


@NEEDS_PROCGEN
@NEEDS_GL
def test_misuse_is_refused() -> None:
    suite = open_suite("procgen")
    assert suite.tasks == TASKS and len(TASKS) == 16 and not suite.has_expert
    assert suite.reference("coinrun") is None
    with pytest.raises(ConfigError, match="Did you mean 'coinrun'"):
        suite.make("coinrum")
    environment = suite.make("coinrun")
    with pytest.raises(SuiteError, match="reset"):
        environment.step(choice("up"))
    environment.reset(2**63 + 5)
    with pytest.raises(DataError, match="holds 15"):
        environment.step(np.array([15], np.float32))
    with pytest.raises(SuiteError, match="behaviour random"):
        environment.expert_action()
    assert environment.legal_actions().all() and environment.legal_actions().shape == (15,)
    environment.close()
    environment.close()
    with pytest.raises(SuiteError, match="closed"):
        environment.reset(0)


def test_a_misspelt_game_is_answered() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'maze'"):
        open_suite("procgen:mazes")

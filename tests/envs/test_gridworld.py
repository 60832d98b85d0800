from collections.abc import Callable

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_STATE, GOAL_STATE
from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Step, open_suite
from flexlam.envs.gridworld import ACTIONS, GridworldEnvironment, GridworldSuite
from flexlam.envs.overlay import OverlaySuite
from flexlam.envs.waves import Waves

Chooser = Callable[[GridworldEnvironment], np.ndarray]


def play(task: str, seed: int, choose: Chooser) -> list[Step]:
    with GridworldSuite().make(task) as environment:
        steps = [environment.reset(seed)]
        while not steps[-1].truncated:
            steps.append(environment.step(choose(environment)))
    return steps


def at_random(seed: int) -> Chooser:
    generator = numpy_generator(seed, "reference")
    return lambda environment: environment.sample_action(generator)


def expert(environment: GridworldEnvironment) -> np.ndarray:
    return environment.expert_action()


def cell(step: Step) -> tuple[int, ...]:
    return tuple(int(value) for value in step.extras[ENDOGENOUS_STATE])


def shown_cell(step: Step, num_cells: int) -> tuple[int, int]:
    """Where the white pixels are."""
    rows, columns = np.nonzero((step.obs == 255).all(-1))
    width = step.obs.shape[0] // num_cells
    return int(columns.mean()) // width, int(rows.mean()) // width


@pytest.mark.parametrize(("task", "num_cells"), [("grid4", 4), ("grid8", 8)])
def test_the_disc_goes_where_the_actions_say_and_stops_at_the_border(task: str, num_cells: int) -> None:
    generator, moves = np.random.default_rng(1), list(ACTIONS.values())
    with GridworldSuite().make(task) as environment:
        before = environment.reset(3)
        for _ in range(60):
            action = environment.sample_action(generator)
            after = environment.step(action)
            expected = np.clip(np.add(cell(before), moves[int(action[0])]), 0, num_cells - 1)
            assert cell(after) == tuple(expected) == shown_cell(after, num_cells)
            before = after


def test_frames_are_64_pixels_wide_with_the_foreground_marked() -> None:
    suite = GridworldSuite()
    step = suite.make("grid8").reset(0)
    assert step.obs.shape == suite.frame_shape == (64, 64, 3) and step.obs.dtype == np.uint8
    assert step.foreground is not None and step.foreground.sum() == 2 * 52  # two discs of 8 pixels
    assert set(np.unique(step.obs[~step.foreground])) == {116, 128}
    goal = step.extras[GOAL_STATE].astype(int)
    red = step.obs[goal[1] * 8 + 3, goal[0] * 8 + 1]
    assert red.tolist() == [220, 40, 40] and tuple(goal) != cell(step)
    assert open_suite("gridworld").frame_shape == (64, 64, 3) and GridworldSuite(96).frame_shape == (96, 96, 3)


def test_the_goal_pays_one_and_moves_away() -> None:
    steps = play("grid8", 5, expert)
    assert len(steps) == 65
    paid = [number for number, step in enumerate(steps) if step.reward]
    assert len(paid) >= 5
    for number in paid[:-1]:
        assert cell(steps[number]) == tuple(steps[number - 1].extras[GOAL_STATE])
        assert (steps[number].extras[GOAL_STATE] != steps[number - 1].extras[GOAL_STATE]).any()


def test_the_same_seed_and_actions_give_the_same_frames() -> None:
    first, second, other = (play("grid8", seed, at_random(1)) for seed in (7, 7, 8))
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.obs, again.obs)
    assert any((one.obs != another.obs).any() for one, another in zip(first, other, strict=True))


def test_the_frame_after_the_end_is_the_last_one_again() -> None:
    steps = play("grid4", 0, expert)
    assert steps[-1].truncated and not steps[-1].terminated
    np.testing.assert_array_equal(steps[-1].obs, steps[-2].obs)
    assert steps[-1].extras[ENDOGENOUS_STATE].tolist() == steps[-2].extras[ENDOGENOUS_STATE].tolist()


def test_overlays_leave_disc_and_goal_alone_and_dominate_the_rest() -> None:
    suite = OverlaySuite(GridworldSuite(), [Waves(Waves.Config())])
    with suite.make("grid8") as environment:
        step, following = environment.reset(2), environment.step(np.zeros(1, np.float32))
    assert step.foreground is not None and EXOGENOUS_STATE in step.extras
    clean = GridworldSuite().make("grid8").reset(2)
    np.testing.assert_array_equal(step.obs[step.foreground], clean.obs[step.foreground])
    assert (step.obs != following.obs)[~step.foreground].mean() > 0.9
    np.testing.assert_array_equal(step.extras[ENDOGENOUS_STATE], clean.extras[ENDOGENOUS_STATE])


@pytest.mark.parametrize("task", GridworldSuite.tasks)
def test_the_shipped_references_are_what_is_measured(task: str) -> None:
    reference = GridworldSuite().reference(task)
    assert reference is not None
    seeds = range(7000, 7000 + reference.num_episodes)
    for chooser, mean, stderr in (
        (lambda seed: expert, reference.expert, reference.expert_stderr),
        (at_random, reference.random, reference.random_stderr),
    ):
        returns = [sum(step.reward for step in play(task, seed, chooser(seed))) for seed in seeds]
        assert np.mean(returns) == pytest.approx(mean, abs=1e-4)
        assert np.std(returns, ddof=1) / np.sqrt(len(returns)) == pytest.approx(stderr, abs=1e-4)
    assert reference.normalise(reference.expert) == 1.0


def test_misuse_is_refused() -> None:
    suite = GridworldSuite()
    for wrong in (suite.make, suite.reference):
        with pytest.raises(ConfigError, match="Did you mean 'grid8'"):
            wrong("grid88")
    with pytest.raises(ConfigError, match="multiple of 8"):
        GridworldSuite(60)
    environment = suite.make("grid4")
    with pytest.raises(SuiteError, match="reset"):
        environment.step(np.zeros(1, np.float32))
    environment.reset(0)
    with pytest.raises(DataError, match="holds 5"):
        environment.step(np.array([5], np.float32))
    environment.close()
    environment.close()
    with pytest.raises(SuiteError, match="reset"):
        environment.step(np.zeros(1, np.float32))

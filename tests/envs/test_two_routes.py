from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexlam.acting.baselines import BehaviourActor
from flexlam.acting.collect import Behaviour, Expert, Mixed
from flexlam.acting.recording import RecordingConfig, record
from flexlam.acting.rollout import Arena, PlayedEpisode
from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_STATE, ROUTE
from flexlam.core.seeding import numpy_generator
from flexlam.data.parts import StoreConfig
from flexlam.data.readers import open_dataset
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.envs import two_routes
from flexlam.envs.base import Step, open_suite
from flexlam.envs.overlay import OverlaySuite
from flexlam.envs.two_routes import DECISIVE, TwoRoutesEnvironment, TwoRoutesSuite, expert_route
from flexlam.envs.waves import Waves

TASK = "two-routes"
UP, DOWN = -1, 1
LONGEST = 26

Chooser = Callable[[TwoRoutesEnvironment], np.ndarray]


def expert(environment: TwoRoutesEnvironment) -> np.ndarray:
    return environment.expert_action()


def at_random(seed: int) -> Chooser:
    generator = numpy_generator(seed, "reference")
    return lambda environment: environment.sample_action(generator)


def vector(right: float, down: float) -> np.ndarray:
    return np.array([right, down], np.float32)


def play(seed: int, choose: Chooser) -> tuple[list[Step], list[np.ndarray]]:
    """All steps of an episode and the actions between them."""
    actions = []
    with TwoRoutesSuite().make(TASK) as environment:
        steps = [environment.reset(seed)]
        while not (steps[-1].terminated or steps[-1].truncated):
            actions.append(choose(environment))
            steps.append(environment.step(actions[-1]))
    return steps, actions


def play_behaviour(behaviour: Behaviour, num_episodes: int) -> list[PlayedEpisode]:
    with Arena(TwoRoutesSuite(), TASK, 1, num_steppers=1) as arena:
        return arena.play(lambda slots: BehaviourActor(lambda: behaviour), num_episodes, seed=0)


def route(step: Step) -> int:
    return int(step.extras[ROUTE][0])


def place(step: Step) -> tuple[float, ...]:
    return tuple(step.extras[ENDOGENOUS_STATE].tolist())


def before_choice(steps: list[Step]) -> list[Step]:
    return [step for step in steps if route(step) == 0]


def at_choice(seed: int = 0) -> tuple[TwoRoutesEnvironment, Step]:
    """A world whose disc the expert has led into the niche."""
    environment = TwoRoutesSuite().make(TASK)
    step = environment.reset(seed)
    while place(step) != (32, 32):
        step = environment.step(environment.expert_action())
    return environment, step


def always(monkeypatch: pytest.MonkeyPatch, way: int) -> None:
    """From now on the expert goes one way in every episode."""
    monkeypatch.setattr(two_routes, "expert_route", lambda seed: way)


def test_the_expert_reaches_the_goal_by_both_ways() -> None:
    ways = []
    for seed in range(100):
        steps, _ = play(seed, expert)
        assert steps[-1].terminated and not steps[-1].truncated
        assert sum(step.reward for step in steps) == steps[-1].reward == 1
        assert 16 <= len(steps) - 1 <= 22
        assert route(steps[0]) == 0 and route(steps[-1]) == expert_route(seed)
        ways.append([route(step) for step in steps])
    assert {way[-1] for way in ways} == {UP, DOWN}
    assert all(np.count_nonzero(np.diff(way)) == 1 for way in ways), "each episode has one choice"


def test_the_expert_goes_each_way_in_half_of_the_episodes() -> None:
    downs = sum(expert_route(seed) == DOWN for seed in range(400))
    assert abs(downs - 200) < 2.6 * np.sqrt(400) / 2  # 99 % of fair coins


def test_nothing_before_the_choice_tells_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything else alike, frames, states and actions are the same to the last bit until the way is taken."""
    for seed in range(20):
        played = []
        for way in (UP, DOWN):
            always(monkeypatch, way)
            played.append(play(seed, expert))
        (up, up_actions), (down, down_actions) = played
        known = len(before_choice(up))
        assert known == len(before_choice(down)) >= 6
        for one, other in zip(up[:known], down[:known], strict=True):
            np.testing.assert_array_equal(one.obs, other.obs)
            assert place(one) == place(other)
        np.testing.assert_array_equal(up_actions[: known - 1], down_actions[: known - 1])
        assert up_actions[known - 1].tolist() == [0, -1] and down_actions[known - 1].tolist() == [0, 1]
        # Nor is one way longer than the other.
        assert len(up) == len(down) and [step.reward for step in up] == [step.reward for step in down]


def test_the_two_newest_frames_at_the_choice_are_the_same_in_every_episode() -> None:
    """So that no network can learn by heart which episode went where."""
    found = [before_choice(play(seed, expert)[0]) for seed in range(20)]
    assert len({steps[0].obs.tobytes() for steps in found}) == 20
    assert len({steps[-3].obs.tobytes() for steps in found}) > 10
    assert len({steps[-2].obs.tobytes() for steps in found}) == len({steps[-1].obs.tobytes() for steps in found}) == 1
    assert place(found[0][-2]) == (26, 32) and place(found[0][-1]) == (32, 32)


def test_the_mean_of_both_ways_never_gets_out_of_the_niche(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two experts that differ in their way alone; their mean action, with noise, is executed for both."""
    for seed in range(200):
        generator = np.random.default_rng(seed)
        with TwoRoutesSuite().make(TASK) as up, TwoRoutesSuite().make(TASK) as down:
            for environment, way in ((up, UP), (down, DOWN)):
                always(monkeypatch, way)
                step = environment.reset(seed)
            while not (step.terminated or step.truncated):
                mean = (up.expert_action() + down.expert_action()) / 2
                action = (mean + generator.normal(0, 0.15, 2)).astype(np.float32)
                for environment in (up, down):
                    step = environment.step(action)
        assert step.truncated and step.reward == 0
        assert place(step) == (32, 32), "it gets to the niche, and stays there"


@pytest.mark.parametrize(("down", "way"), [(-1.0, UP), (-DECISIVE, UP), (DECISIVE, DOWN), (1.0, DOWN)])
def test_a_decisive_action_takes_a_way_at_once(down: float, way: int) -> None:
    for right in (-1.0, 0.0, 1.0):
        environment, _ = at_choice()
        step = environment.step(vector(right, down))
        assert route(step) == way and place(step) == (32, 32 + 16 * way)
        while not (step.terminated or step.truncated):
            step = environment.step(vector(1, 0))
        assert step.terminated and step.reward == 1 and route(step) == way


def test_indecisive_actions_are_undone() -> None:
    environment, before = at_choice()
    for right, down in ((0, 0), (1, 0.74), (1, -0.74), (-1, 0.74), (-1, 0)):
        after = environment.step(vector(right, down))
        np.testing.assert_array_equal(before.obs, after.obs)
        assert place(after) == (32, 32) and route(after) == 0


def test_mirrored_actions_give_mirrored_frames() -> None:
    generator = np.random.default_rng(0)
    (upper, _), (lower, _) = at_choice(), at_choice()
    up, down = upper.step(vector(0, -1)), lower.step(vector(0, 1))
    for _ in range(12):
        np.testing.assert_array_equal(up.obs, down.obs[::-1])
        assert up.foreground is not None and down.foreground is not None
        np.testing.assert_array_equal(up.foreground, down.foreground[::-1])
        assert (up.reward, up.terminated) == (down.reward, down.terminated)
        right, aside = generator.uniform(-1, 1, 2)
        up, down = upper.step(vector(right, -aside)), lower.step(vector(right, aside))


def test_no_way_leads_back() -> None:
    environment, _ = at_choice()
    step = environment.step(vector(0, -1))
    while not step.truncated:
        step = environment.step(vector(-1, 1 if step.obs.sum() % 2 else 0.5))
        assert route(step) == UP and place(step)[0] >= 32


def test_pressed_against_a_wall_the_disc_does_not_get_on() -> None:
    with TwoRoutesSuite().make(TASK) as environment:
        before = environment.reset(0)
        for down in (1, DECISIVE, -1, -DECISIVE):
            after = environment.step(vector(1, down))
            assert place(after)[0] == place(before)[0] and abs(place(after)[1] - 32) <= 2
        assert place(environment.step(vector(1, 0.5)))[0] == pytest.approx(place(before)[0] + 3)
        while place(after)[0] < 26:
            after = environment.step(vector(1, 0))
        assert place(environment.step(vector(1, 1))) == (26, 32), "nor out of the neck"
        assert place(environment.step(vector(-1, 0))) == (23, 32), "but back"


def test_no_constant_action_succeeds() -> None:
    for right in np.linspace(-1, 1, 9):
        for down in np.linspace(-1, 1, 11):
            steps, _ = play(0, lambda environment: vector(right, down))  # noqa: B023
            assert not steps[-1].reward


def test_what_is_shown_is_where_the_disc_is() -> None:
    for seed in range(5):
        for step in play(seed, expert)[0]:
            rows, columns = np.nonzero((step.obs == 255).all(-1))
            assert np.abs(np.array([columns.mean(), rows.mean()]) + 0.5 - place(step)).max() <= 0.5
            assert route(step) == round((place(step)[1] - 32) / 16)
    one, other = (TwoRoutesSuite().make(TASK) for _ in range(2))
    one.reset(0)
    other.reset(0)
    assert (one.step(vector(0.5, 0)).obs != other.step(vector(0.6, 0)).obs).any(), "parts of a pixel show"


def test_the_same_seed_and_actions_give_the_same_frames() -> None:
    (first, _), (second, _), (other, _) = (play(seed, at_random(1)) for seed in (7, 7, 8))
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.obs, again.obs)
    assert any((one.obs != another.obs).any() for one, another in zip(first, other, strict=True))


def test_the_expert_says_the_same_when_asked_again() -> None:
    with TwoRoutesSuite().make(TASK) as environment:
        environment.reset(0)
        np.testing.assert_array_equal(environment.expert_action(), environment.expert_action())


def test_the_experts_straight_actions_vary_and_are_never_decisive() -> None:
    actions = np.concatenate([play(seed, expert)[1] for seed in range(50)])
    decisive = np.abs(actions[:, 1]) >= DECISIVE
    assert decisive.sum() == 50 and np.abs(actions[decisive, 1]).min() == 1
    straight = actions[~decisive]
    assert straight[:, 0].std() > 0.05 and straight[:, 1].std() > 0.05
    assert straight[:, 0].min() >= 0.6 and np.abs(straight[:, 1]).max() <= 0.4


def test_an_expert_with_bursts_of_random_actions_reaches_the_goal_by_both_ways() -> None:
    episodes = play_behaviour(Mixed(0.15), 100)
    assert np.mean([episode.episode_return for episode in episodes]) > 0.8
    ways = [int(episode.last_extras[ROUTE][0]) for episode in episodes if episode.episode_return]
    assert abs(np.mean(ways)) < 2.6 / np.sqrt(len(ways))


def test_played_and_stored_episodes_tell_their_way(tmp_path: Path) -> None:
    played = play_behaviour(Expert(), 20)
    ways = [int(episode.last_extras[ROUTE][0]) for episode in played]
    assert set(ways) == {UP, DOWN} and all(episode.episode_return == 1 for episode in played)

    record(RecordingConfig(suite=TASK, num_frames=200, behaviour="expert"), tmp_path / "recording")
    build_store(open_dataset(tmp_path / "recording"), tmp_path / "store", StoreConfig(), announce=lambda _: None)
    store = FrameStore.open(tmp_path / "store")
    assert store.rewards is not None
    last = store.episodes.starts + store.episodes.lengths - 1
    found = store.extras[ROUTE][last, 0]
    assert store.rewards[last[:-1]].all() and set(found[:-1]) == {UP, DOWN}
    sides = np.round((store.extras[ENDOGENOUS_STATE][:, 1] - 32) / 16)
    np.testing.assert_array_equal(store.extras[ROUTE][:, 0], sides)


def test_the_frame_after_the_end_is_the_last_one_again() -> None:
    for steps in (play(0, expert)[0], play(0, lambda environment: vector(-1, 0))[0]):
        np.testing.assert_array_equal(steps[-1].obs, steps[-2].obs)
        assert place(steps[-1]) == place(steps[-2]) and route(steps[-1]) == route(steps[-2])
        assert steps[-1].terminated == bool(steps[-1].reward) != steps[-1].truncated
    assert len(steps) == LONGEST + 1


def test_overlays_leave_disc_walls_and_goal_alone_and_dominate_the_rest() -> None:
    suite = OverlaySuite(TwoRoutesSuite(), [Waves(Waves.Config())])
    with suite.make(TASK) as environment:
        step, following = environment.reset(2), environment.step(vector(1, 0))
    assert step.foreground is not None and EXOGENOUS_STATE in step.extras
    clean = TwoRoutesSuite().make(TASK).reset(2)
    np.testing.assert_array_equal(step.obs[step.foreground], clean.obs[step.foreground])
    assert (step.obs != following.obs)[~step.foreground].mean() > 0.9
    assert set(np.unique(clean.obs[~step.foreground])) == {128} and (~step.foreground).mean() > 0.6
    np.testing.assert_array_equal(step.extras[ROUTE], clean.extras[ROUTE])


def test_the_shipped_reference_is_what_is_measured() -> None:
    suite = open_suite(TASK)
    reference = suite.reference(TASK)
    assert reference is not None and suite.tasks == (TASK,) and suite.frame_shape == (64, 64, 3)
    seeds = range(7000, 7000 + reference.num_episodes)
    for chooser, mean, stderr in (
        (lambda seed: expert, reference.expert, reference.expert_stderr),
        (at_random, reference.random, reference.random_stderr),
    ):
        returns = [sum(step.reward for step in play(seed, chooser(seed))[0]) for seed in seeds]
        assert np.mean(returns) == pytest.approx(mean, abs=1e-4)
        assert np.std(returns, ddof=1) / np.sqrt(len(returns)) == pytest.approx(stderr, abs=1e-4)


def test_misuse_is_refused() -> None:
    suite = TwoRoutesSuite()
    for wrong in (suite.make, suite.reference):
        with pytest.raises(ConfigError, match="Did you mean 'two-routes'"):
            wrong("tworoutes")
    environment = suite.make(TASK)
    with pytest.raises(SuiteError, match="reset"):
        environment.step(vector(1, 0))
    environment.reset(0)
    for bad, said in (
        (np.zeros(3, np.float32), "shape"),
        (np.zeros((1, 2), np.float32), "shape"),
        (vector(np.nan, 0), "NaN"),
    ):
        with pytest.raises(DataError, match=said):
            environment.step(bad)
    beyond, within = environment.step(vector(5, 0)), suite.make(TASK)
    within.reset(0)
    np.testing.assert_array_equal(beyond.obs, within.step(vector(1, 0)).obs)
    environment.close()
    environment.close()
    with pytest.raises(SuiteError, match="reset"):
        environment.step(vector(1, 0))

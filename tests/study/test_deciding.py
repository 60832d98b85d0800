"""How policies are tried where two ways are equally good."""

from collections.abc import Callable

import numpy as np
import pytest

from flexlam.acting.rollout import PlayedEpisode
from flexlam.core.extras import ROUTE
from flexlam.envs.two_routes import DECISIVE, TwoRoutesSuite
from flexlam.study.config import PaceConfig
from flexlam.study.pieces import deciding
from flexlam.study.pieces.deciding import approach_choice, at_choice, cpu_seconds, ways


def episode(episode_return: float, route: int) -> PlayedEpisode:
    return PlayedEpisode(0, episode_return=episode_return, last_extras={ROUTE: np.array([route], np.float32)})


def test_ways_are_those_of_successful_episodes() -> None:
    found = ways([episode(1, -1), episode(1, 1), episode(1, 1), episode(0, -1), episode(0, 0)])
    assert found == {"success": pytest.approx(0.6), "left": pytest.approx(0.8), "up": pytest.approx(1 / 3)}
    assert ways([episode(0, 0), episode(0, 1)]) == {"success": 0.0, "left": 0.5, "up": None}


def test_the_approach_ends_at_the_choice() -> None:
    suite = TwoRoutesSuite()
    one, other = (approach_choice(suite, "two-routes", seed) for seed in (0, 1))
    np.testing.assert_array_equal(one[-1], other[-1])
    assert not np.array_equal(one[0], other[0]), "other episodes"
    with suite.make("two-routes") as game:
        frame = game.reset(5).obs
        while abs(game.expert_action()[1]) < DECISIVE:
            frame = game.step(game.expert_action()).obs
    np.testing.assert_array_equal(one[-1], frame)


def test_both_ways_are_covered_only_by_decisive_draws() -> None:
    down = np.array([DECISIVE, -1.0, 0.0, 0.5], np.float32)
    assert at_choice(np.stack([0 * down, down], 1)) == {"covered": 1.0, "decisive": 0.5}
    one_way = np.array([[0, -1], [0, -0.9], [1, 0.74]], np.float32)
    assert at_choice(one_way) == {"covered": 0.0, "decisive": pytest.approx(2 / 3)}


def test_deciders_take_turns_and_each_answers_for_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, turns = [0.0], list[str]()
    monkeypatch.setattr(deciding.time, "process_time", lambda: clock[0])

    def takes(name: str, seconds: float) -> Callable[[np.ndarray], None]:
        def decide(frame: np.ndarray) -> None:
            turns.append(name)
            clock[0] += 100 if len(turns) <= 4 else seconds  # the first round is slow

        return decide

    found = cpu_seconds([takes("a", 1.0), takes("b", 4.0)], np.zeros((1, 1)), PaceConfig(num_rounds=3, num_decisions=2))
    assert found == [1.0, 4.0]
    assert "".join(turns) == "aabb" + "bbaa" + "aabb" + "bbaa", "the order changes"

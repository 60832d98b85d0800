"""The adapter for DeepMind Lab, on a stand-in that has the interface of its package and none of its games."""

import sys
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, SuiteError
from flexlam.envs.base import open_suite
from flexlam.envs.dmlab import ACTIONS, NORMALISED, TASKS

LENGTH = 5  # decisions


class Lab:
    """As docs/users/python_api.md of the Lab describes it."""

    made: ClassVar["list[Lab]"] = []

    def __init__(self, level: str, observations: list[str], config: dict[str, str]) -> None:
        if observations != ["RGB_INTERLEAVED"]:
            raise RuntimeError("no such observation")
        self.level, self.config = level, config
        self.calls: list[tuple[Any, ...]] = []
        self.steps = LENGTH
        Lab.made.append(self)

    def reset(self, seed: int) -> None:
        assert 0 <= seed < 2**31
        self.seed, self.steps = seed, 0

    def step(self, action: np.ndarray, num_steps: int) -> float:
        assert action.dtype == np.intc and action.shape == (7,)
        self.calls.append((tuple(action.tolist()), num_steps))
        self.steps += 1
        return 10.0 if self.steps == LENGTH else 0.5

    def is_running(self) -> bool:
        return self.steps < LENGTH

    def observations(self) -> dict[str, np.ndarray]:
        if not self.is_running():
            raise RuntimeError("Environment is not running.")
        return {"RGB_INTERLEAVED": np.full((64, 64, 3), self.steps, np.uint8)}

    def close(self) -> None:
        self.calls.append(("closed",))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("deepmind_lab")
    module.Lab = Lab  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "deepmind_lab", module)
    return module


def test_an_episode_runs_to_its_end(lab: ModuleType) -> None:
    suite = open_suite("dmlab")
    with suite.make("rooms_watermaze") as environment:
        game = Lab.made[-1]
        assert game.level == "contributed/dmlab30/rooms_watermaze"
        assert game.config["width"] == game.config["height"] == "64"
        first = environment.reset(2**40 + 3)
        assert first.obs.shape == suite.frame_shape and first.obs.dtype == np.uint8 and first.reward == 0
        steps = [environment.step(np.array([number], np.float32)) for number in (0, 5, 6, 8, 1)]
        assert [step.reward for step in steps] == [0.5] * 4 + [10.0]
        assert [step.terminated for step in steps] == [False] * 4 + [True]
        assert [int(step.obs[0, 0, 0]) for step in steps] == [1, 2, 3, 4, 4], "the last frame again"
        with pytest.raises(SuiteError, match="over"):
            environment.step(np.array([0], np.float32))
        names = ("forward", "look_right", "forward+look_left", "fire", "back")
        assert game.calls == [(ACTIONS[name], 4) for name in names]
        assert environment.reset(1).obs[0, 0, 0] == 0
    assert game.calls[-1] == ("closed",)
    with pytest.raises(SuiteError, match="closed"):
        environment.reset(0)


def test_tasks_and_references_are_those_of_the_paper() -> None:
    suite = open_suite("dmlab")
    assert len(suite.tasks) == 16 and len(NORMALISED) == 11 and set(NORMALISED) < set(TASKS)
    assert suite.action_spec.num_choices == (9,) and suite.fps == 15
    reference = suite.reference("explore_goal_locations_small")
    assert reference is not None and reference.normalise(368.09 / 2) == pytest.approx(0.5)
    assert suite.reference("rooms_watermaze") is None
    with pytest.raises(ConfigError, match="Did you mean 'rooms_watermaze'"):
        suite.make("rooms_watermaz")


def test_a_crash_is_told_and_closes_the_game(lab: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = open_suite("dmlab").make("psychlab_visual_search")
    environment.reset(0)
    monkeypatch.setattr(Lab, "step", lambda *arguments, **named: (_ for _ in ()).throw(RuntimeError("engine died")))
    with pytest.raises(SuiteError, match="engine died"):
        environment.step(np.array([0], np.float32))
    assert Lab.made[-1].calls[-1] == ("closed",)


def test_without_the_package_it_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepmind_lab", None)
    with pytest.raises(ConfigError, match="google-deepmind/lab"):
        open_suite("dmlab").make("rooms_watermaze")

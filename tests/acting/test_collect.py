from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import pytest

from flexlam.acting.collect import Behaviour, Expert, Mixed, Random, collect
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, SuiteError
from flexlam.core.seeding import derive_seed
from flexlam.data.episodes import Columns
from flexlam.envs.base import Reference, Step
from flexlam.envs.gymnasium_suite import GymnasiumSuite
from flexlam.envs.vizdoom import VizdoomSuite

EXPERT_CHOICE = 1.0


class Toy:
    """Episodes of a given length whose frames count the steps; choice 1 is the expert's, choice 2 is not legal."""

    action_spec = ActionSpec(num_choices=(5,))
    frame_shape = (4, 4, 3)
    fps = 5.0
    has_expert = True
    games_apart = False

    def __init__(self, length: int = 7, crash_after: int | None = None, tasks: tuple[str, ...] = ("a", "b")) -> None:
        self.tasks = tasks
        self.length = length
        self.crash_after = crash_after
        self.num_steps = 0
        self.seeds: list[int] = []
        self.num_open = 0

    def make(self, task: str) -> "ToyEnvironment":
        self.num_open += 1
        return ToyEnvironment(self)

    def reference(self, task: str) -> Reference | None:
        return None


class ToyEnvironment:
    action_spec = Toy.action_spec

    def __init__(self, suite: Toy) -> None:
        self.suite = suite

    def reset(self, seed: int) -> Step:
        self.suite.seeds.append(seed)
        self.count = 0
        return self._step(0.0)

    def step(self, action: np.ndarray) -> Step:
        assert self.legal_actions()[int(action[0])]
        if self.suite.num_steps == self.suite.crash_after:
            raise SuiteError("The game has crashed.")
        self.suite.num_steps += 1
        self.count += 1
        return self._step(10.0 * float(action[0]) + self.count)

    def _step(self, reward: float) -> Step:
        obs = np.full(Toy.frame_shape, self.count % 256, np.uint8)
        return Step(obs, reward, self.count >= self.suite.length, False, {"count": np.array([self.count], np.float32)})

    def expert_action(self) -> np.ndarray:
        return np.array([EXPERT_CHOICE], np.float32)

    def legal_actions(self) -> np.ndarray:
        return np.array([True, True, False, True, True])

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        return generator.choice(np.flatnonzero(self.legal_actions()), 1).astype(np.float32)

    def close(self) -> None:
        self.suite.num_open -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class Memory:
    """A writer that keeps everything."""

    episodes: list[tuple[str, np.ndarray, Columns]] = field(default_factory=list)

    def write_episode(self, task: str, frames: np.ndarray, columns: Columns) -> None:
        self.episodes.append((task, frames, columns))

    def actions(self) -> np.ndarray:
        return np.concatenate([columns.actions for _, _, columns in self.episodes if columns.actions is not None])


def test_rows_hold_the_frame_the_action_on_seeing_it_and_the_reward_that_followed() -> None:
    writer = Memory()
    assert collect(Toy(length=7), ["a", "b"], 21, Expert(), 0, writer) == {"a": 21, "b": 21}
    assert [task for task, _, _ in writer.episodes] == ["a"] * 3 + ["b"] * 3
    for _, frames, columns in writer.episodes:
        assert frames.shape == (7, 4, 4, 3)
        np.testing.assert_array_equal(frames[:, 0, 0, 0], np.arange(7))
        np.testing.assert_allclose(columns.times, np.arange(7) / 5.0)
        np.testing.assert_array_equal(columns.actions, np.full((7, 1), EXPERT_CHOICE))
        np.testing.assert_array_equal(columns.rewards, 10 * EXPERT_CHOICE + np.arange(1, 8))
        np.testing.assert_array_equal(columns.extras["count"][:, 0], np.arange(7))


@pytest.mark.parametrize("num_frames", range(2, 30))
def test_every_number_of_frames_is_met_without_single_frame_episodes(num_frames: int) -> None:
    writer, ticks = Memory(), []
    assert collect(Toy(length=7), ["a"], num_frames, Expert(), 0, writer, progress=ticks.append) == {"a": num_frames}
    lengths = [len(frames) for _, frames, _ in writer.episodes]
    assert sum(lengths) == num_frames
    assert min(lengths) >= 2
    assert num_frames <= sum(ticks) <= num_frames + 1


def test_without_actions_nothing_else_changes() -> None:
    with_actions, without = Memory(), Memory()
    collect(Toy(), ["a"], 20, Random(), 3, with_actions)
    collect(Toy(), ["a"], 20, Random(), 3, without, with_actions=False)
    for (_, frames, columns), (_, bare_frames, bare) in zip(with_actions.episodes, without.episodes, strict=True):
        assert columns.actions is not None
        assert bare.actions is None
        np.testing.assert_array_equal(frames, bare_frames)
        np.testing.assert_array_equal(columns.rewards, bare.rewards)


def test_episode_seeds_are_named_by_record_task_and_number() -> None:
    suite = Toy()
    collect(suite, ["a", "b"], 14, Expert(), 5, Memory())
    assert suite.seeds == [derive_seed(5, "record", task, number) for task in "ab" for number in (0, 1)]


def test_the_same_seed_records_the_same_and_another_does_not() -> None:
    recorded = []
    for seed in (1, 1, 2):
        writer = Memory()
        collect(Toy(), ["a"], 200, Random(), seed, writer)
        recorded.append(writer.actions())
    np.testing.assert_array_equal(recorded[0], recorded[1])
    assert (recorded[0] != recorded[2]).any()


def test_random_is_uniform_over_legal_choices_held_for_one_to_three_decisions() -> None:
    writer = Memory()
    collect(Toy(length=3000), ["a"], 3000, Random(), 0, writer)
    actions = writer.actions()[:, 0].astype(int)
    share = np.bincount(actions, minlength=5) / len(actions)
    assert share[2] == 0
    np.testing.assert_allclose(share[[0, 1, 3, 4]], 0.25, atol=0.05)
    # Successive decisions agree when held (1 of 2) or when the next draw is the same by chance (1 of 4 of the rest).
    assert abs((actions[1:] == actions[:-1]).mean() - 0.625) < 0.04


@pytest.mark.parametrize("noise", [0.0, 0.15, 0.5])
def test_mixed_behaviour_has_the_share_of_noise_it_was_told(noise: float) -> None:
    writer = Memory()
    collect(Toy(length=20_000), ["a"], 20_000, Mixed(noise), 0, writer)
    actions = writer.actions()[:, 0]
    # One random choice in four is the expert's own.
    assert abs((actions != EXPERT_CHOICE).mean() - 0.75 * noise) < 0.015
    assert 2 not in actions


@pytest.mark.parametrize(("crash_after", "kept"), [(0, 0), (1, 0), (17, 17), (25, 25)])
def test_a_crash_keeps_what_was_recorded_and_says_so(crash_after: int, kept: int) -> None:
    suite, writer = Toy(length=7, crash_after=crash_after), Memory()
    task = "a" if crash_after < 20 else "b"
    with pytest.raises(SuiteError, match=f"task '{task}'.*crashed.*kept: {kept} frames"):
        collect(suite, ["a", "b"], 20, Expert(), 0, writer)
    assert sum(len(frames) for _, frames, _ in writer.episodes) == kept
    for _, frames, columns in writer.episodes:
        assert len(frames) == len(columns.times) >= 2
    assert suite.num_open == 0


def test_interruption_closes_the_game_and_keeps_finished_episodes() -> None:
    suite, writer = Toy(length=7), Memory()

    def interrupt(number: int) -> None:
        if suite.num_steps == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(suite, ["a"], 100, Expert(), 0, writer, progress=interrupt)
    assert [len(frames) for _, frames, _ in writer.episodes] == [7]
    assert suite.num_open == 0


def test_single_frame_episodes_are_dropped() -> None:
    writer = Memory()
    with pytest.raises(SuiteError, match="nothing to record"):
        collect(Toy(length=1), ["a"], 10, Expert(), 0, writer)
    assert writer.episodes == []


def test_misuse_is_refused() -> None:
    with pytest.raises(ConfigError, match="Known: a, b"):
        collect(Toy(), ["c"], 10, Expert(), 0, Memory())
    with pytest.raises(ConfigError, match="2 frames"):
        collect(Toy(), ["a"], 1, Expert(), 0, Memory())
    with pytest.raises(ConfigError, match="share of random"):
        Mixed(1.0)


@pytest.mark.parametrize("behaviour", [Expert(), Random(), Mixed()], ids=lambda value: type(value).__name__)
def test_a_real_game_is_recorded(behaviour: Behaviour) -> None:
    writer = Memory()
    assert collect(VizdoomSuite(), ["health_gathering"], 60, behaviour, 0, writer) == {"health_gathering": 60}
    (_, frames, columns), *_ = writer.episodes
    assert frames.shape[1:] == (64, 64, 3)
    assert frames.dtype == np.uint8
    assert columns.actions is not None
    assert columns.actions.dtype == np.float32
    assert (frames[1:] != frames[:-1]).any()


def test_random_actions_of_continuous_dimensions_are_held_between_their_bounds() -> None:
    writer = Memory()
    collect(GymnasiumSuite("MountainCarContinuous-v0"), ["MountainCarContinuous-v0"], 150, Random(), 0, writer)
    actions = writer.actions()
    assert actions.shape == (150, 1)
    assert np.abs(actions).max() <= 1 and actions.min() < -0.8 and actions.max() > 0.8
    # No two draws are equal, so the runs of equal actions are the holds.
    ends = np.flatnonzero((actions[1:] != actions[:-1]).any(1))
    assert set(np.diff(ends).tolist()) == {1, 2, 3}


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (Random(), [7, 7, 3, 3, 4, 4, 4, 14, 14, 0, 15, 15, 15, 14, 0, 0]),
        (Mixed(0.5), [3, 3, 3, 0, 15, 15, 4, 4, 4, 4, 4, 4, 0, 15, 4, 3]),
    ],
    ids=["random", "mixed"],
)
def test_a_seed_names_the_same_recording_for_ever(behaviour: Behaviour, expected: list[int]) -> None:
    writer = Memory()
    collect(VizdoomSuite(), ["basic"], 16, behaviour, 5, writer)
    assert writer.actions()[:, 0].tolist() == expected

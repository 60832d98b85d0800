"""Episodes are named by seeds alone: the same for everybody, however many games run at once."""

import threading

import numpy as np
import pytest

from flexlam.acting.baselines import BehaviourActor, Uniform
from flexlam.acting.collect import Expert
from flexlam.acting.rollout import Arena, PlayedEpisode
from flexlam.core.errors import ConfigError, SuiteError
from flexlam.core.extras import ENDOGENOUS_STATE, ROUTE
from flexlam.core.seeding import derive_seed
from flexlam.envs.base import Environment, Step
from flexlam.envs.two_routes import TwoRoutesSuite
from square_world import SquareGame, SquareSuite


class Watcher:
    """Notes with which seeds and in which slots episodes begin; acts at random."""

    def __init__(self, num_slots: int, seen: list[tuple[int, int]]) -> None:
        self.inner, self.num_slots, self.seen = BehaviourActor(Uniform), num_slots, seen

    def begin(self, slot: int, environment: Environment, seed: int) -> None:
        assert 0 <= slot < self.num_slots
        self.seen.append((slot, seed))
        self.inner.begin(slot, environment, seed)

    def act(self, frames: np.ndarray, active: np.ndarray) -> np.ndarray:
        assert frames.shape == (self.num_slots, 16, 16, 3) and active.shape == (self.num_slots,)
        return self.inner.act(frames, active)


def returns(episodes: list[PlayedEpisode]) -> list[float]:
    return [episode.episode_return for episode in episodes]


def test_episodes_are_the_same_however_many_games_and_shares_there_are() -> None:
    found = []
    for num_environments, num_workers in ((1, 1), (3, 1), (4, 2), (8, 3)):
        played = {}
        for worker in range(num_workers):
            with Arena(SquareSuite(), "long", num_environments) as arena:
                share = arena.play(lambda slots: BehaviourActor(Uniform), 7, seed=3, share=(worker, num_workers))
            played |= {episode.number: episode.episode_return for episode in share}
        found.append([played[number] for number in range(7)])
    assert all(other == found[0] for other in found)
    assert len(set(found[0])) > 1, "all episodes being alike would show nothing"


def test_recording_choosing_and_testing_meet_different_episodes() -> None:
    seen: dict[str, list[tuple[int, int]]] = {"validation": [], "test": []}
    with Arena(SquareSuite(), "short", 2) as arena:
        for purpose, notes in seen.items():
            arena.play(lambda slots, notes=notes: Watcher(slots, notes), 5, 0, purpose)
    seeds = {purpose: {seed for _, seed in notes} for purpose, notes in seen.items()}
    assert len(seeds["test"]) == 5 and not seeds["test"] & seeds["validation"]
    game = SquareGame(3)
    first = {
        purpose: game.reset(derive_seed(0, purpose, "short", 0)).obs for purpose in ("record", "validation", "test")
    }
    assert not np.array_equal(first["record"], first["test"])
    assert not np.array_equal(first["validation"], first["test"])


def test_kept_episodes_hold_frames_actions_and_notes_of_every_decision() -> None:
    with Arena(SquareSuite(), "long", 2) as arena:
        episodes = arena.play(
            lambda slots: BehaviourActor(Expert),
            3,
            0,
            num_kept=1,
            note=lambda actor, slot: (type(actor).__name__, slot),
        )
    kept = episodes[0]
    assert len(kept.frames) == len(kept.actions) == len(kept.notes) == kept.num_decisions == 30
    assert kept.notes[0] == ("BehaviourActor", 0)
    game = SquareGame(30)
    step = game.reset(derive_seed(0, "test", "long", 0))
    for frame, action in zip(kept.frames, kept.actions, strict=True):
        np.testing.assert_array_equal(frame, step.obs)
        step = game.step(action)
    assert not episodes[1].frames and not episodes[2].notes


def test_episodes_tell_the_exact_states_of_their_last_frame() -> None:
    with Arena(TwoRoutesSuite(), "two-routes", 2) as arena:
        episodes = arena.play(lambda slots: BehaviourActor(Expert), 6, 0)
    for episode in episodes:
        (x, y), (route,) = episode.last_extras[ENDOGENOUS_STATE], episode.last_extras[ROUTE]
        assert x > 50 and route == np.sign(y - 32)
    assert len({episode.last_extras[ROUTE][0] for episode in episodes}) == 2


def test_experts_return_more_than_random_actions_on_the_same_episodes() -> None:
    with Arena(SquareSuite(), "long", 4) as arena:
        expert = returns(arena.play(lambda slots: BehaviourActor(Expert), 12, 0))
        random = returns(arena.play(lambda slots: BehaviourActor(Uniform), 12, 0))
    assert np.mean(expert) > np.mean(random) + 2


@pytest.mark.parametrize("apart", [False, True])
def test_threads_step_only_games_that_run_in_processes_of_their_own(apart: bool) -> None:
    steppers: set[int] = set()

    class Watched(SquareSuite):
        games_apart = apart

        def make(self, task: str) -> SquareGame:
            game = super().make(task)
            step = game.step

            def watched(action: np.ndarray) -> Step:
                steppers.add(threading.get_ident())
                return step(action)

            game.step = watched  # type: ignore[method-assign]
            return game

    with Arena(Watched(), "short", 3) as arena:
        arena.play(lambda slots: BehaviourActor(Uniform), 3, 0)
    assert (steppers == {threading.get_ident()}) == (not apart)


def test_a_crash_reaches_the_caller() -> None:
    class Crashing(SquareSuite):
        def make(self, task: str) -> SquareGame:
            game = super().make(task)
            game.step = lambda action: (_ for _ in ()).throw(SuiteError("The game has crashed."))  # type: ignore[method-assign]
            return game

    with Arena(Crashing(), "long", 2) as arena, pytest.raises(SuiteError, match="crashed"):
        arena.play(lambda slots: BehaviourActor(Uniform), 4, 0)


def test_no_games_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        Arena(SquareSuite(), "long", 0)

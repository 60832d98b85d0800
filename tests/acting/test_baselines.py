from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.acting.actor import Actor
from flexlam.acting.baselines import (
    BehaviourActor,
    CloningActor,
    ConstantActor,
    MarginalActor,
    MarkovActor,
    Uniform,
    recorded_actions,
)
from flexlam.acting.collect import Expert, Mixed
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.seeding import numpy_generator
from flexlam.data.transitions import TransitionIndex
from flexlam.envs.base import Step
from flexlam.policy.cloning import CloningPolicy
from flexlam.training.cloning import Clone
from flexlam.training.fit import seeded
from flexlam.translator.actions import ActionCodec
from moving_square import square_store

SPEC = ActionSpec(num_choices=(5,))
MIXED = ActionSpec(num_choices=(3, 2), num_continuous=1)
NAN = float("nan")


class Game:
    """An environment whose expert always does 1, and in which 2 is not legal."""

    def __init__(self, spec: ActionSpec = SPEC) -> None:
        self.action_spec = spec

    def reset(self, seed: int) -> Step:
        return Step(np.zeros((4, 4, 3), np.uint8), 0.0, False, False)

    def step(self, action: np.ndarray) -> Step:
        return self.reset(0)

    def expert_action(self) -> np.ndarray:
        return np.array([1.0], np.float32)

    def legal_actions(self) -> np.ndarray:
        return np.array([True, True, False, True, True])

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        return generator.choice(np.flatnonzero(self.legal_actions()), 1).astype(np.float32)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def frames(num_slots: int, value: int = 0) -> np.ndarray:
    return np.full((num_slots, 4, 4, 3), value, np.uint8)


def play(actor: Actor, seed: int, num_steps: int = 50, slot: int = 0, num_slots: int = 1) -> np.ndarray:
    """The actions of one episode, in one slot among several."""
    actor.begin(slot, Game(), seed)
    active = np.arange(num_slots) == slot
    rows = [actor.act(frames(num_slots, step % 256), active) for step in range(num_steps)]
    assert all(row.shape == (num_slots, 1) and row.dtype == np.float32 for row in rows)
    return np.stack(rows)[:, slot]


def test_uniform_draws_every_legal_choice_equally_often_at_each_decision() -> None:
    actions = play(BehaviourActor(Uniform), seed=0, num_steps=3000)[:, 0]
    shares = [float((actions == choice).mean()) for choice in range(5)]
    assert shares == pytest.approx([0.25, 0.25, 0, 0.25, 0.25], abs=0.03)
    assert (actions[1:] == actions[:-1]).mean() == pytest.approx(0.25, abs=0.03), "nothing is held"


def test_behaviours_act_as_in_recordings() -> None:
    assert set(play(BehaviourActor(Expert), seed=0)[:, 0]) == {1.0}
    behaviour, game = Mixed(0.5), Game()
    behaviour.start(game, numpy_generator(3, "actor"))
    wanted = np.stack([behaviour.act(game) for _ in range(50)])
    assert (play(BehaviourActor(lambda: Mixed(0.5)), seed=3) == wanted).all()


def test_two_slots_do_not_share_a_behaviour() -> None:
    """Held choices of one episode must not leak into another that runs beside it."""
    both, active = BehaviourActor(lambda: Mixed(0.9)), np.array([True, True])
    both.begin(0, Game(), 5)
    both.begin(1, Game(), 6)
    rows = np.stack([both.act(frames(2), active) for _ in range(50)])
    for slot, seed in enumerate((5, 6)):
        assert (rows[:, slot] == play(BehaviourActor(lambda: Mixed(0.9)), seed)).all()


def test_a_constant_is_constant() -> None:
    assert set(play(ConstantActor(np.array([3.0], np.float32)), seed=0)[:, 0]) == {3.0}


def test_the_marginal_draws_whole_recorded_vectors_as_often_as_they_were_recorded() -> None:
    recorded = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0.5], [2, 1, -1.0]], np.float32)
    actor = MarginalActor(recorded)
    actor.begin(0, Game(MIXED), 0)
    drawn = np.concatenate([actor.act(frames(1), np.array([True])) for _ in range(2000)])
    rare = (drawn == recorded[3]).all(1)
    assert ((drawn == recorded[0]).all(1) | rare).all(), "no mixture of two vectors"
    assert rare.mean() == pytest.approx(0.25, abs=0.03)


def test_the_markov_chain_begins_as_episodes_do_and_goes_on_as_they_did() -> None:
    """Start -> 0 always; 0 -> 1 always; 1 -> 0 once, 3 twice; 3 -> was always the last, so all of them are possible."""
    pairs = np.array([[NAN, 0], [NAN, 0], [0, 1], [0, 1], [0, 1], [1, 0], [1, 3], [1, 3]], np.float32)
    actor = MarkovActor(pairs[:, :1], pairs[:, 1:], SPEC)
    actions = play(actor, seed=0, num_steps=8000)[:, 0].astype(int)
    assert actions[0] == 0 and {play(actor, seed, 1)[0, 0] for seed in range(20)} == {0.0}
    table = np.zeros((5, 5))
    np.add.at(table, (actions[:-1], actions[1:]), 1)
    shares = table / table.sum(1, keepdims=True).clip(1)
    assert shares[0] == pytest.approx([0, 1, 0, 0, 0])
    assert shares[1] == pytest.approx([1 / 3, 0, 0, 2 / 3, 0], abs=0.03)
    assert shares[3] == pytest.approx([3 / 8, 3 / 8, 0, 2 / 8, 0], abs=0.03)
    assert not table[[2, 4]].any(), "nothing that was never recorded"


@pytest.mark.parametrize("spec", [MIXED, ActionSpec(num_continuous=2), ActionSpec(num_choices=(2, 2))])
def test_a_markov_chain_needs_a_single_choice(spec: ActionSpec) -> None:
    actions = np.zeros((4, spec.num_dims), np.float32)
    with pytest.raises(ConfigError, match="needs actions of a single choice"):
        MarkovActor(actions, actions, spec)


def test_blind_controls_need_recorded_actions() -> None:
    nothing = np.zeros((0, 1), np.float32)
    with pytest.raises(DataError, match="got none"):
        MarginalActor(nothing)
    with pytest.raises(DataError, match="got none"):
        MarkovActor(nothing, nothing, SPEC)


def test_recorded_actions_are_those_of_one_task(tmp_path: Path) -> None:
    store = square_store(tmp_path, num_episodes=4, length=10)
    index = TransitionIndex.build(store)
    before, action = recorded_actions(store, index, "b")
    assert store.actions is not None
    episodes = [store.actions[start : start + 9] for start in store.episodes.starts[1::2]]
    assert (action == np.concatenate(episodes)).all()
    assert np.isnan(before[[0, 9]]).all()
    assert (before[1:9] == episodes[0][:-1]).all() and (before[10:] == episodes[1][:-1]).all()
    with pytest.raises(ConfigError, match="Did you mean 'b'"):
        recorded_actions(store, index, "bb")
    silent = square_store(tmp_path / "silent", num_episodes=2, length=10, spec=None)
    with pytest.raises(DataError, match="holds no actions"):
        recorded_actions(silent, TransitionIndex.build(silent), "a")


@dataclass
class Brightness:
    """Scores that follow from both frames: choice c scores weight[c]·(1 + brightness now + 2·brightness before)."""

    codec: ActionCodec
    weights: tuple[float, ...] = (0.0, 1.0, 2.0, 0.5, -1.0)

    def scores(self, prev_frames: Tensor, frames: Tensor) -> Tensor:
        self.seen = (prev_frames.float().mean((1, 2, 3)), frames.float().mean((1, 2, 3)))
        return (1 + self.seen[1] + 2 * self.seen[0])[:, None] * torch.tensor(self.weights) * 0.1


def cloned(temperature: float, num_slots: int = 1) -> CloningActor:
    return CloningActor(Brightness(ActionCodec(SPEC)), num_slots, temperature)


def test_cold_takes_the_best_choice_and_warm_follows_the_scores() -> None:
    assert set(play(cloned(0.0), seed=0)[:, 0]) == {2.0}
    actor = cloned(1.0)
    actor.begin(0, Game(), 0)
    active = np.array([True])
    drawn = np.concatenate([actor.act(frames(1), active) for _ in range(1500)])[:, 0]
    wanted = (torch.tensor(Brightness(ActionCodec(SPEC)).weights) * 0.1).softmax(0).numpy()
    assert [float((drawn == c).mean()) for c in range(5)] == pytest.approx(wanted.tolist(), abs=0.04)


def test_a_choice_without_weight_is_never_drawn() -> None:
    clone = Brightness(ActionCodec(SPEC), (-1e4, 0.0, -1e4, 0.0, -1e4))
    actor = CloningActor(clone, 1, 1.0)
    assert set(play(actor, seed=0, num_steps=300)[:, 0]) == {1.0, 3.0}


def test_the_frame_before_is_the_slots_own_and_at_the_start_the_newest() -> None:
    clone = Brightness(ActionCodec(SPEC))
    actor, active = CloningActor(clone, 2), np.array([True, True])
    actor.begin(0, Game(), 0)
    actor.begin(1, Game(), 1)
    newest = np.concatenate([frames(1, 10), frames(1, 20)])
    seen = []
    for step in range(3):
        if step == 2:
            actor.begin(1, Game(), 2)
        actor.act(newest, active)
        seen.append([part.tolist() for part in clone.seen])
        newest += 1  # the caller may use the same memory again
    assert seen == [[[10, 20], [10, 20]], [[10, 20], [11, 21]], [[11, 22], [12, 22]]]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_episode_is_the_same_in_any_slot_and_any_batch(temperature: float) -> None:
    alone = play(cloned(temperature), seed=4)
    assert (play(cloned(temperature, 3), seed=4, slot=2, num_slots=3) == alone).all()
    crowd = cloned(temperature, 2)
    crowd.begin(0, Game(), 9)
    crowd.begin(1, Game(), 4)
    rows = [crowd.act(frames(2, step % 256), np.array([step % 3 > 0, True])) for step in range(50)]
    assert (np.stack(rows)[:, 1] == alone).all()
    again = cloned(temperature)
    assert (play(again, seed=4) == alone).all() and (play(again, seed=4) == alone).all(), "no trace of the one before"


def test_a_clone_of_convolutions_acts_the_same_alone_and_among_others() -> None:
    config = CloningPolicy.Config(patch_size=2, channels=(8, 8), hidden_dim=8)
    policy = seeded(lambda: CloningPolicy(config, (4, 4, 3), 5), 0, "policy")
    clone = Clone(policy.eval(), ActionCodec(SPEC))
    alone = play(CloningActor(clone, 1), seed=4)
    assert len(set(alone[:, 0])) > 2, "it draws"
    assert (play(CloningActor(clone, 3), seed=4, slot=1, num_slots=3) == alone).all()


def test_continuous_dimensions_take_the_mean_and_choices_are_drawn_one_by_one() -> None:
    codec = ActionCodec(MIXED)
    codec.fit(torch.tensor([[0.0, 0.0, 10.0], [0.0, 0.0, 30.0]]))  # mean 20, standard deviation 10
    actor = CloningActor(Brightness(codec, (-1e5, 0.0, 0.0, 0.0, -1e5, 5.0)), 1, 1.0)
    actor.begin(0, Game(MIXED), 0)
    drawn = np.concatenate([actor.act(frames(1), np.array([True])) for _ in range(200)])
    assert set(drawn[:, 0]) == {1.0, 2.0} and set(drawn[:, 1]) == {0.0}
    assert drawn[:, 2] == pytest.approx(25)


@pytest.mark.parametrize("actor", [BehaviourActor(Uniform), cloned(0.0, 2)])
def test_an_episode_that_was_not_begun_is_named(actor: Actor) -> None:
    actor.begin(0, Game(), 0)
    with pytest.raises(ConfigError, match=r"No episode has begun in the slot\(s\) 1"):
        actor.act(frames(2), np.array([True, True]))
    assert actor.act(frames(2), np.array([True, False])).shape == (2, 1)


def test_a_clone_acts_where_actions_mean_what_it_has_learned() -> None:
    actor = cloned(0.0, 2)
    with pytest.raises(DataError, match="the clone has learned"):
        actor.begin(0, Game(ActionSpec(num_choices=(4,))), 0)
    with pytest.raises(ConfigError, match=r"There is no slot 2; .* 0 \.\. 1"):
        actor.begin(2, Game(), 0)
    with pytest.raises(ConfigError, match="temperature is -1"):
        cloned(-1.0)
    with pytest.raises(DataError, match="frames of 3 slots; this actor was made for 2"):
        actor.act(frames(3), np.zeros(3, bool))

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.core.errors import DataError, TrainingError
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.policy.cloning import CloningPolicy
from flexlam.training.cloning import (
    Clone,
    CloningConfig,
    clone_all,
    clone_labels,
    clone_pseudo,
    cloning_loss,
    frame_positions,
)
from flexlam.training.fit import FitConfig
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs
from moving_square import DISCRETE, FPS, MIXED, moving_square, square_store
from tiny import FIT

CONFIG = CloningConfig(
    network=CloningPolicy.Config(patch_size=2, channels=(16, 32), hidden_dim=64),
    num_steps=150,
    optimizer=OptimizerConfig(name="adamw", learning_rate=1e-2, warmup_steps=10),
    fit=FitConfig(learning_rate=1e-2, weight_decay=0.01, max_steps=80, evaluate_every=40, num_folds=2),
    max_shift=1,
    fit_max_shift=1,
    device="cpu",
    precision="fp32",
)
SHORT = CONFIG.model_copy(update={"num_steps": 3, "fit": FIT.model_copy(update={"max_steps": 10})})
CHANCE = math.log(5)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> SplitPairs:
    """Squares of which the action at t is the move that led to o_t: two frames show it, one does not."""
    path: Path = tmp_path_factory.mktemp("cloning")
    with LeRobotWriter(path / "recording", FPS, (16, 16, 3), DISCRETE) as writer:
        for number in range(30):
            episode = moving_square(40, number, task="ab"[number % 2])
            assert episode.columns.actions is not None
            late = np.concatenate([np.zeros((1, 1), np.float32), episode.columns.actions[:-1]])
            writer.write_episode(episode.task, episode.frames, dataclasses.replace(episode.columns, actions=late))
    build_store(
        LeRobotReader(path / "recording"), path / "store", StoreConfig(frame_size=None), announce=lambda _: None
    )
    return load_pairs(path / "store", PairConfig())


@pytest.fixture(scope="module")
def clone(pairs: SplitPairs) -> Clone:
    return clone_all(CONFIG, pairs, seed=0)


def weights(clone: Clone) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(clone.policy.parameters())


def recorded(pairs: SplitPairs) -> np.ndarray:
    assert pairs.store.actions is not None
    return pairs.store.actions[pairs.train.first]


def test_a_clone_does_what_was_done_in_episodes_it_never_saw(clone: Clone, pairs: SplitPairs) -> None:
    assert cloning_loss(clone, pairs.store, pairs.test) < 0.6 * CHANCE


def test_it_needs_the_frame_before(clone: Clone, pairs: SplitPairs) -> None:
    """With o_t in both places it sees no move."""
    still = dataclasses.replace(pairs.test, previous=np.full_like(pairs.test.previous, -1))
    assert cloning_loss(clone, pairs.store, still) > 2 * cloning_loss(clone, pairs.store, pairs.test)


def test_both_frames_are_the_same_where_an_episode_starts(pairs: SplitPairs) -> None:
    previous, first = frame_positions(pairs.train)
    starts = pairs.train.step == 0
    assert starts.sum() > 10
    assert (previous[starts] == first[starts]).all()
    assert (previous[~starts] == first[~starts] - 1).all()


def test_the_loss_is_the_mean_over_all_transitions(clone: Clone, pairs: SplitPairs) -> None:
    store, few = pairs.store, dataclasses.replace(pairs.test, first=pairs.test.first[:3], previous=np.array([-1, 0, 1]))
    assert store.actions is not None
    losses = []
    for before, now in zip([few.first[0], 0, 1], few.first, strict=True):
        scores = clone.scores(*(torch.from_numpy(store.frames(np.array([at]))) for at in (before, now)))
        losses.append(-float(scores.log_softmax(-1)[0, int(store.actions[now, 0])]))
    assert cloning_loss(clone, store, few) == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_recorded_actions_as_pseudo_labels_give_the_same_clone(pairs: SplitPairs) -> None:
    one, other = clone_all(SHORT, pairs, seed=1), clone_pseudo(SHORT, pairs, recorded(pairs), seed=1)
    assert torch.equal(weights(one), weights(other))
    assert not torch.equal(weights(one), weights(clone_all(SHORT, pairs, seed=2)))


def test_pseudo_labels_take_the_place_of_the_recorded_actions(pairs: SplitPairs) -> None:
    clone = clone_pseudo(CONFIG, pairs, np.full((len(pairs.train), 1), 3, np.float32), seed=0)
    frames = torch.from_numpy(pairs.store.frames(pairs.test.first[:20]))
    assert clone.codec.predict(clone.scores(frames, frames)).unique().tolist() == [3]


def test_few_labels_teach_something_but_less(clone: Clone, pairs: SplitPairs) -> None:
    rows = np.random.default_rng(0).permutation(len(pairs.train))[:300]
    few = clone_labels(CONFIG, pairs, rows, seed=0)
    assert not few.policy.training
    everything = cloning_loss(clone, pairs.store, pairs.test)
    assert everything < cloning_loss(few, pairs.store, pairs.test) < 0.9 * CHANCE


def test_no_other_label_is_looked_at(pairs: SplitPairs) -> None:
    rows = np.arange(0, 400, 10)
    other = load_pairs(pairs.store.path, PairConfig())
    assert other.store.actions is not None
    hidden = np.setdiff1d(np.arange(other.store.num_frames), other.train.first[rows])
    other.store.actions[hidden] = 4 - other.store.actions[hidden]
    assert torch.equal(weights(clone_labels(SHORT, pairs, rows, 0)), weights(clone_labels(SHORT, other, rows, 0)))
    other.store.actions[other.train.first[rows[0]]] = (other.store.actions[other.train.first[rows[0]]] + 1) % 5
    assert not torch.equal(weights(clone_labels(SHORT, pairs, rows, 0)), weights(clone_labels(SHORT, other, rows, 0)))


@pytest.mark.parametrize("shape", [(5, 1), (None, 2)])
def test_pseudo_labels_must_fit(pairs: SplitPairs, shape: tuple[int | None, int]) -> None:
    actions = np.zeros((shape[0] or len(pairs.train), shape[1]), np.float32)
    with pytest.raises(DataError, match=rf"expected \({len(pairs.train)}, 1\)"):
        clone_pseudo(SHORT, pairs, actions, seed=0)


def test_a_pseudo_label_that_is_no_choice_is_refused(pairs: SplitPairs) -> None:
    with pytest.raises(DataError, match="holds 9; expected a whole number from 0 to 4"):
        clone_pseudo(SHORT, pairs, np.full((len(pairs.train), 1), 9, np.float32), seed=0)


def test_without_actions_there_is_nothing_to_clone(tmp_path: Path) -> None:
    store = square_store(tmp_path, spec=None)
    with pytest.raises(DataError, match="holds no actions"):
        clone_all(SHORT, load_pairs(store.path, PairConfig()), seed=0)


def test_frames_of_another_size_are_refused(clone: Clone) -> None:
    frames = torch.zeros(1, 16, 20, 3, dtype=torch.uint8)
    with pytest.raises(DataError, match=r"given frames of \(16, 20, 3\) .* expected \(16, 16, 3\)"):
        clone.scores(frames, frames)


def test_a_diverging_run_is_stopped(pairs: SplitPairs) -> None:
    hot = OptimizerConfig(name="adamw", learning_rate=1e30, warmup_steps=0)
    with pytest.raises(TrainingError, match=r"not finite at step 1 .* Lower optimizer\.learning_rate"):
        clone_all(SHORT.model_copy(update={"optimizer": hot}), pairs, seed=0)


def test_continuous_actions_are_cloned_too(tmp_path: Path) -> None:
    store: FrameStore = square_store(tmp_path, num_episodes=12, spec=MIXED)
    clone = clone_all(SHORT, load_pairs(store.path, PairConfig()), seed=0)
    frames = torch.from_numpy(store.frames(np.arange(4)))
    actions = clone.codec.predict(clone.scores(frames, frames))
    assert actions.shape == (4, 4)
    MIXED.check(actions.numpy(), "test")

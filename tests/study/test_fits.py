"""What the fits of a step have in common: draws, noisy labels, test transitions of chosen tasks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flexlam.data.store import FrameStore
from flexlam.study.pieces.fits import Problem, with_label_noise
from flexlam.training.labelled import Labelled
from flexlam.training.pairs import PairConfig
from flexlam.translator.inverse_dynamics import PreviousActionModel
from moving_square import square_store

SETTINGS: dict[str, Any] = {
    **{"label_counts": (16, 64), "num_draws": 3, "label_noise": 0.0, "num_test": 40},
    **{"source": None, "tested": (), "seed": 5},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return square_store(tmp_path_factory.mktemp("squares"), num_episodes=30, length=12)


def problem(store: FrameStore, **settings: object) -> Problem:
    return Problem.open({**SETTINGS, **settings}, Path(store.path), PairConfig())


def test_large_budgets_have_fewer_draws(store: FrameStore) -> None:
    found = problem(store, label_counts=(32, 512, 1024, 2048, 5000), num_draws=3).draws
    assert found == [
        *((32, i) for i in range(3)),
        *((512, i) for i in range(3)),
        *((1024, i) for i in range(2)),
        (2048, 0),
        (5000, 0),
    ]


def test_draws_and_seeds_have_labels_of_their_own_and_budgets_are_nested(store: FrameStore) -> None:
    one = problem(store)
    small, large, other = one.label_rows(16, 0), one.label_rows(64, 0), one.label_rows(16, 1)
    assert set(small) < set(large) and set(small) != set(other)
    assert set(problem(store, seed=6).label_rows(16, 0)) != set(small)


def test_the_test_set_is_the_same_for_every_seed_and_is_scored_task_by_task(store: FrameStore) -> None:
    one, other = problem(store), problem(store, seed=9)
    assert np.array_equal(one.test_rows, other.test_rows) and len(one.test_rows) == 40
    task = store.tasks[0]
    apart = problem(store, tested=(task,))
    assert set(apart.pairs.test.task[apart.test_rows]) == {apart.pairs.test.tasks.index(task)}
    test, model = apart.test(None), PreviousActionModel(apart.spec)
    model.fit(test.prev_action, test.action)
    every, alone = apart.scored(model, model(test.prev_action), test)
    assert (every["task"], alone["task"]) == (None, task) and every["action_loss"] == alone["action_loss"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_noisy_labels_are_other_labels_as_often_as_asked(share: float) -> None:
    action = torch.arange(4000.0)[:, None]
    labels = Labelled(torch.zeros(4000, 2, 3), action - 1, action, torch.zeros(4000, 0))
    noisy = with_label_noise(labels, share, np.random.default_rng(0))
    wrong = float((noisy.action != action).float().mean())
    assert wrong == pytest.approx(share, abs=0.03) and (share > 0) == (wrong > 0)
    assert set(noisy.action[:, 0].tolist()) <= set(action[:, 0].tolist())
    assert torch.equal(noisy.prev_action, labels.prev_action)


def test_label_noise_spoils_training_labels_alone(store: FrameStore) -> None:
    clean, noisy = problem(store), problem(store, label_noise=0.5)
    assert torch.equal(clean.test(None).action, noisy.test(None).action)
    assert not torch.equal(clean.labels(64, 0, None).action, noisy.labels(64, 0, None).action)
    assert torch.equal(noisy.labels(64, 0, None).action, noisy.labels(64, 0, None).action), "the same at every call"

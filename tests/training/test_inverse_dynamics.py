from pathlib import Path

import numpy as np
import pytest

from flexlam.core.errors import DataError, TrainingError
from flexlam.data.store import FrameStore
from flexlam.lam.model import LatentActionModel
from flexlam.training.fit import FitConfig
from flexlam.training.inverse_dynamics import fit_inverse_dynamics, inverse_dynamics_scores, pseudo_label
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs
from flexlam.translator.base import HourglassConfig
from moving_square import square_store
from tiny import ENCODER, FIT, REGRESSION

NETWORK = HourglassConfig(wide_dim=32, narrow_dim=16, dropout=0.0, input_dropout=0.0)
LONG = FitConfig(learning_rate=5e-3, weight_decay=0.01, max_steps=80, evaluate_every=80, patience=3, num_folds=2)
SHORT = FIT.model_copy(update={"max_steps": 10})


@pytest.fixture(scope="module")
def model() -> LatentActionModel:
    """Untrained: only its sizes count."""
    config = LatentActionModel.Config(num_slots=4, encoder=ENCODER, decoder=REGRESSION)
    return LatentActionModel(config, (16, 16, 3))


@pytest.fixture
def pairs(store: FrameStore) -> SplitPairs:
    """Opened anew, because some tests change its actions."""
    return load_pairs(store.path, PairConfig())


def actions_of(pairs: SplitPairs) -> np.ndarray:
    assert pairs.store.actions is not None
    return pairs.store.actions


def test_every_training_transition_gets_an_action_and_most_are_right(
    model: LatentActionModel, pairs: SplitPairs
) -> None:
    rows = np.random.default_rng(0).permutation(len(pairs.train))[:250]
    labels = pseudo_label(model, pairs, rows, seed=0, network=NETWORK, fit=LONG)
    assert labels.shape == (len(pairs.train), 1) and labels.dtype == np.float32
    others = np.setdiff1d(np.arange(len(pairs.train)), rows)
    right = labels[others] == actions_of(pairs)[pairs.train.first[others]]
    assert right.mean() > 0.5, "chance is 0.2"


def test_pseudo_labels_see_frames_and_the_given_labels_only(model: LatentActionModel, pairs: SplitPairs) -> None:
    """Neither previous actions, nor any action of another row."""
    rows = np.arange(0, 600, 15)
    before = pseudo_label(model, pairs, rows, seed=0, network=NETWORK, fit=SHORT)
    actions = actions_of(pairs)
    hidden = np.setdiff1d(np.arange(len(actions)), pairs.train.first[rows])
    actions[hidden] = 4 - actions[hidden]
    assert (pseudo_label(model, pairs, rows, seed=0, network=NETWORK, fit=SHORT) == before).all()


@pytest.mark.parametrize("use_prev_action", [False, True])
def test_the_previous_action_is_an_option(model: LatentActionModel, pairs: SplitPairs, use_prev_action: bool) -> None:
    idm = fit_inverse_dynamics(model, pairs, np.arange(40), NETWORK, use_prev_action, SHORT, seed=0)
    rows = np.arange(1, 30)
    before = inverse_dynamics_scores(idm, pairs.store, pairs.test, rows)
    actions_of(pairs)[pairs.test.previous[rows]] = 3
    after = inverse_dynamics_scores(idm, pairs.store, pairs.test, rows)
    assert (before != after).any().item() == use_prev_action


def test_scores_come_in_the_order_of_the_rows(model: LatentActionModel, pairs: SplitPairs) -> None:
    idm = fit_inverse_dynamics(model, pairs, np.arange(40), NETWORK, False, SHORT, seed=0)
    rows = np.array([7, 3, 11])
    together = inverse_dynamics_scores(idm, pairs.store, pairs.test, rows)
    single = [inverse_dynamics_scores(idm, pairs.store, pairs.test, rows[i : i + 1])[0] for i in range(3)]
    for row, alone in zip(together, single, strict=True):
        assert row.tolist() == pytest.approx(alone.tolist(), abs=1e-5)


def test_it_needs_actions_and_as_many_labels_as_folds(
    model: LatentActionModel, pairs: SplitPairs, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="1 labels cannot be cut into 2 folds"):
        pseudo_label(model, pairs, np.arange(1), seed=0, fit=SHORT)
    silent = load_pairs(square_store(tmp_path, spec=None).path, PairConfig())
    with pytest.raises(DataError, match="holds no actions"):
        pseudo_label(model, silent, np.arange(10), seed=0, fit=SHORT)

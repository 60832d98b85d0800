import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.core.run_folder import RunFolder
from flexlam.data.labels import LabelBudget
from flexlam.data.store import FrameStore
from flexlam.evaluate import alignment
from flexlam.evaluate.alignment import AlignmentConfig, measure_alignment
from flexlam.lam.model import LatentActionModel
from flexlam.training.labelled import Labelled
from flexlam.training.lam import train_lam
from flexlam.training.pairs import PairConfig, load_pairs
from moving_square import CONTINUOUS, MIXED, square_store
from tiny import FIT, lam_run

CONFIG = AlignmentConfig(
    labels=LabelBudget(count=100), num_draws=3, fit=FIT.model_copy(update={"max_steps": 200}), idm_draws=1, idm_fit=FIT
)


@pytest.fixture(scope="module")
def results(store: FrameStore, learned: RunFolder) -> dict[str, Any]:
    model = LatentActionModel.from_pretrained(learned.model)
    return measure_alignment(model, load_pairs(store.path, PairConfig()), CONFIG)


def test_codes_beat_every_control(results: dict[str, Any]) -> None:
    assert [row["k"] for row in results["rows"]] == [0, 1, 2, 4]
    for control in ("k0", "shuffled", "previous_action", "previous_action_same_labels"):
        assert results["comparisons"][control]["in_stderrs"] > 3, control
    assert results["rows"][-1]["action_accuracy"] > 0.6
    assert results["baselines"]["idm"]["action_loss_draws"]


def test_standard_errors_are_over_draws(results: dict[str, Any]) -> None:
    row = results["rows"][-1]
    draws = np.array(row["action_loss_draws"])
    assert len(draws) == 3
    assert row["action_loss"] == pytest.approx(draws.mean())
    assert row["action_loss_stderr"] == pytest.approx(draws.std(ddof=1) / np.sqrt(3))


def test_repeating_the_previous_action_is_counted_by_hand(results: dict[str, Any], store: FrameStore) -> None:
    pairs = load_pairs(store.path, PairConfig())
    assert store.actions is not None
    previous, first = pairs.test.previous, pairs.test.first
    same = (previous >= 0) & (store.actions[previous, 0] == store.actions[first, 0])
    assert results["baselines"]["repeat_previous"]["action_accuracy"] == pytest.approx(same.mean(), abs=1e-6)


def test_noise_for_test_labels_changes_no_choice(
    store: FrameStore, learned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is selected on test labels: chosen steps are the same when those are noise."""
    model = LatentActionModel.from_pretrained(learned.model)
    pairs = load_pairs(store.path, PairConfig())
    chosen: list[tuple[int, ...]] = []
    original_fit, original_encode = alignment.fit_translator, alignment.encode_labelled

    def fit(*arguments: Any) -> Any:
        found = original_fit(*arguments)
        chosen.append(found.num_steps)
        return found

    def noisy(m: LatentActionModel, s: FrameStore, index: Any, rows: np.ndarray) -> Labelled:
        labelled = original_encode(m, s, index, rows)
        if index is not pairs.test:
            return labelled
        noise = torch.randint(0, 5, labelled.action.shape, generator=torch.Generator().manual_seed(9)).float()
        return dataclasses.replace(labelled, action=noise)

    config = CONFIG.model_copy(update={"num_draws": 2, "idm_draws": 0, "num_workers": 1})  # watched in this process
    monkeypatch.setattr(alignment, "fit_translator", fit)
    clean = measure_alignment(model, pairs, config)
    monkeypatch.setattr(alignment, "encode_labelled", noisy)
    noised = measure_alignment(model, pairs, config)
    assert len(chosen) == 8 and chosen[:4] == chosen[4:]
    assert clean["rows"][-1]["action_loss"] != noised["rows"][-1]["action_loss"], "the noise was really there"


def test_a_k_beyond_the_slots_is_refused(store: FrameStore, learned: RunFolder) -> None:
    model = LatentActionModel.from_pretrained(learned.model)
    with pytest.raises(ConfigError, match="0 to 4"):
        measure_alignment(
            model, load_pairs(store.path, PairConfig()), CONFIG.model_copy(update={"prefix_lengths": (1, 5)})
        )


@pytest.mark.parametrize("spec", [CONTINUOUS, MIXED])
def test_continuous_and_mixed_actions_are_measured(tmp_path_factory: pytest.TempPathFactory, spec: Any) -> None:
    path = tmp_path_factory.mktemp("spec")
    data = square_store(path, num_episodes=12, length=20, spec=spec)
    run = train_lam(lam_run(3), data.path, path / "run")
    model = LatentActionModel.from_pretrained(run.model)
    config = CONFIG.model_copy(update={"num_draws": 1, "idm_fit": FIT.model_copy(update={"max_steps": 10}), "fit": FIT})
    measured = measure_alignment(model, load_pairs(data.path, PairConfig()), config)
    assert all(np.isfinite(row["action_loss"]) for row in measured["rows"])
    assert ("repeat_previous" in measured["baselines"]) == bool(spec.num_choices)
    assert all(("action_accuracy" in row) == bool(spec.num_choices) for row in measured["rows"])

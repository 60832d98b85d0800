from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.core.errors import CheckpointError, DataError
from flexlam.core.run_folder import RunFolder
from flexlam.data.labels import LabelBudget, LabelSet
from flexlam.data.store import FrameStore
from flexlam.lam.model import LatentActionModel
from flexlam.training.labelled import encode_labelled
from flexlam.training.pairs import PairConfig, load_pairs
from flexlam.training.translator import TranslatorRunConfig, train_translator
from flexlam.translator.model import load_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixSampledTranslator
from moving_square import square_store
from tiny import FIT

CONFIG = TranslatorRunConfig(labels=LabelBudget(count=120), fit=FIT.model_copy(update={"max_steps": 300}))


def test_a_few_labels_turn_codes_into_actions(store: FrameStore, learned: RunFolder, tmp_path: Path) -> None:
    run = train_translator(CONFIG, learned.path, store.path, tmp_path / "run")
    model = LatentActionModel.from_pretrained(learned.model)
    translator = load_translator(run.model, model.hash)
    pairs = load_pairs(store.path, PairConfig())
    test = encode_labelled(model, store, pairs.test, np.arange(len(pairs.test)))
    with torch.inference_mode():
        right = translator.codec.correct(translator(test.latents, test.prev_action, 4), test.action)
        blind = translator.codec.correct(translator(test.latents, test.prev_action, 0), test.action)
    assert right.float().mean() > blind.float().mean() + 0.3


def test_the_labelled_transitions_are_kept_and_are_training_ones(
    store: FrameStore, learned: RunFolder, tmp_path: Path
) -> None:
    run = train_translator(CONFIG, learned.path, store.path, tmp_path / "run")
    pairs = load_pairs(store.path, PairConfig())
    labels = LabelSet.load(run.path / "labels.parquet", pairs.train)
    assert len(labels) == 120
    assert set(labels.episode.tolist()) <= set(pairs.train.episode.tolist())
    assert not set(labels.episode.tolist()) & set(pairs.test.episode.tolist())


@pytest.mark.parametrize("config", [PrefixSampledTranslator.Config(), PerPrefixTranslator.Config()])
def test_both_kinds_are_fitted_saved_and_loaded(
    store: FrameStore, learned: RunFolder, tmp_path: Path, config: object
) -> None:
    run = train_translator(
        CONFIG.model_copy(update={"translator": config, "fit": FIT}), learned.path, store.path, tmp_path / "run"
    )
    translator = load_translator(run.model, LatentActionModel.from_pretrained(learned.model).hash)
    assert {0, 1, 2, 4} <= set(translator.served)
    steps = run.read_json("fit.json")["num_steps"]
    assert len(steps) == (1 if isinstance(config, PrefixSampledTranslator.Config) else 4)


def test_a_translator_refuses_the_codes_of_another_model(store: FrameStore, learned: RunFolder, tmp_path: Path) -> None:
    run = train_translator(CONFIG.model_copy(update={"fit": FIT}), learned.path, store.path, tmp_path / "run")
    with pytest.raises(CheckpointError, match="train a translator for this one"):
        load_translator(run.model, "0123456789abcdef")


def test_a_store_without_actions_is_refused(learned: RunFolder, tmp_path: Path) -> None:
    silent = square_store(tmp_path, num_episodes=12, spec=None)
    with pytest.raises(DataError, match="holds no actions"):
        train_translator(CONFIG, learned.path, silent.path, tmp_path / "run")
    assert not (tmp_path / "run").exists()

from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.core.action import ActionSpec
from flexlam.core.errors import CheckpointError, DataError
from flexlam.core.run_folder import RunFolder
from flexlam.data.labels import LabelBudget, LabelSet
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.training.fit import Fit
from flexlam.training.labelled import Labelled, encode_labelled
from flexlam.training.pairs import PairConfig, load_pairs
from flexlam.training.translator import (
    TranslatorProblem,
    TranslatorRunConfig,
    fit_translator,
    heldout_accuracy,
    train_translator,
    train_translator_by_hand,
)
from flexlam.translator.base import HourglassConfig
from flexlam.translator.model import load_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixSampledTranslator
from moving_square import DISCRETE, square_store
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


# ---- side by side


def random_model(sampling: str = "uniform") -> LatentActionModel:
    small = PairEncoder.Config(patch_size=8, dim=16, depth=1, num_heads=2)
    decoder = RegressionDecoder.Config(patch_size=8, dim=16, depth=1, num_heads=2)
    config = LatentActionModel.Config(num_slots=4, encoder=small, decoder=decoder, prefix_sampling=sampling)
    return LatentActionModel(config, (16, 16, 3)).eval()


def random_labels(model: LatentActionModel, count: int = 40) -> Labelled:
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(0, 5, (2, count, 1), generator=generator).float()
    actions[0, 0] = torch.nan
    latents, obs = torch.randn(count, 4, model.latent_dim, generator=generator), torch.randn(count, 192)
    return Labelled(latents, actions[0], actions[1], obs)


QUIET = HourglassConfig(wide_dim=16, narrow_dim=8, dropout=0.0, input_dropout=0.0)


@pytest.mark.parametrize("kind", [PrefixSampledTranslator, PerPrefixTranslator])
@pytest.mark.parametrize(("use_prev_action", "use_obs"), [(True, False), (False, False), (True, True)])
def test_the_loss_of_several_is_the_sum_of_their_losses(kind: type, use_prev_action: bool, use_obs: bool) -> None:
    model = random_model("full")  # no random prefixes: the sums can be compared
    config = kind.Config(network=QUIET, use_prev_action=use_prev_action, use_obs=use_obs)
    problem = TranslatorProblem(config, DISCRETE, model, random_labels(model), seed=0)
    translators = [problem.build() for _ in range(3)]
    for number, parameter in enumerate(p for t in translators for p in t.parameters() if p.requires_grad):
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(number))
    rows = torch.randint(0, 40, (3, 8), generator=torch.Generator().manual_seed(1))
    together = problem.together(translators)
    together.train()
    found = together.loss(rows, torch.Generator())
    wanted = [problem.loss(t, of_it, torch.Generator()) for t, of_it in zip(translators, rows, strict=True)]
    assert torch.allclose(found, torch.stack(wanted).sum(), rtol=1e-5)


def test_prefixes_are_random_in_training_even_after_an_evaluation() -> None:
    model = random_model()
    problem = TranslatorProblem(PrefixSampledTranslator.Config(network=QUIET), DISCRETE, model, random_labels(model), 0)
    translator = problem.build()
    torch.nn.init.normal_(translator.network.project[2].weight)
    together = problem.together([translator])
    translator.eval()
    together.train()
    rows, generator = torch.arange(40)[None], torch.Generator().manual_seed(0)
    assert together.loss(rows, generator) != together.loss(rows, generator)


def test_fixed_codes_can_have_the_prefix_dropout_of_flexlam_as_a_control() -> None:
    model = random_model("full")
    labels, config = random_labels(model), PrefixSampledTranslator.Config(network=QUIET)
    plain, control = (TranslatorProblem(config, DISCRETE, model, labels, 0, dropout) for dropout in (False, True))
    assert plain.build().config.prefix_sampling == "full"
    translator = control.build().train()
    assert translator.config.prefix_sampling == "uniform"
    filled = translator.fill(labels.latents.expand(50, -1, -1, -1), torch.Generator().manual_seed(0))[0]
    kept = (filled == labels.latents).all(-1).sum(-1).flatten()
    assert set(kept.tolist()) == {0, 1, 2, 3, 4}
    assert torch.allclose(filled[(filled != labels.latents).all(-1)][0], labels.latents.mean((0, 1)))


def test_labels_written_by_hand_are_enough(store: FrameStore, learned: RunFolder, tmp_path: Path) -> None:
    """Actions of a recording, copied into a file, teach what they teach as columns."""
    index = TransitionIndex.build(store)
    rows = np.random.default_rng(0).permutation(len(index))[:200]
    names = np.array(DISCRETE.names)
    chosen = names[store.actions[index.first[rows], 0].astype(int)]
    lines = [
        f"{store.episodes.names[index.episode[row]]},{index.step[row]},{action}"
        for row, action in zip(rows, chosen, strict=True)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,frame,action", *lines]) + "\n")
    run = train_translator_by_hand(CONFIG, learned.path, store.path, tmp_path / "labels.csv", tmp_path / "run")
    model = LatentActionModel.from_pretrained(learned.model)
    translator = load_translator(run.path, model.hash)
    assert not translator.config.use_prev_action and translator.codec.spec.names == tuple(sorted(names))
    others = np.setdiff1d(np.arange(len(index)), rows)[:300]
    batch = index.batch(store, others)
    latents = model.encode(batch.obs, batch.next_obs).latents
    none = torch.full((len(others), 1), float("nan"))
    with torch.inference_mode():
        guessed = translator.codec.predict(translator(latents, none, model.num_slots, torch.zeros(len(others), 0)))
    right = np.array(sorted(names))[guessed[:, 0].long().numpy()] == names[batch.action[:, 0].long().numpy()]
    assert right.mean() > 0.5, "five choices: chance is a fifth"
    fit = run.read_json("fit.json")
    assert fit["num_labels"] == 200 and fit["heldout_accuracy"] == pytest.approx(right.mean(), abs=0.2)
    assert (run.path / "labels.csv").read_text() == (tmp_path / "labels.csv").read_text()


# ---- how well labels are told


@pytest.mark.parametrize(("told", "least", "most"), [(True, 0.95, 1.0), (False, 0.0, 0.45)])
def test_held_out_accuracy_is_that_of_labels_that_were_not_seen(told: bool, least: float, most: float) -> None:
    """Codes that hold the action are read in labels that were held out; codes of noise are not, however well fitted."""
    model = random_model()
    labels = random_labels(model, 60)
    if told:
        kinds = torch.randn(5, 4, model.latent_dim, generator=torch.Generator().manual_seed(1))
        labels = Labelled(kinds[labels.action[:, 0].long()], labels.prev_action, labels.action, labels.obs)
    network = HourglassConfig(wide_dim=64, narrow_dim=16, dropout=0.0, input_dropout=0.0)
    translator = PrefixSampledTranslator.Config(network=network, use_prev_action=False)
    settings = FIT.model_copy(update={"max_steps": 120, "evaluate_every": 60, "learning_rate": 1e-2})
    config = TranslatorRunConfig(fit=settings)
    problem = TranslatorProblem(translator, DISCRETE, model, labels, 0)
    found = heldout_accuracy(problem, fit_translator(translator, DISCRETE, model, labels, settings, 0), config)
    assert found is not None and least <= found <= most


def test_continuous_actions_have_no_held_out_accuracy() -> None:
    model = random_model()
    problem = TranslatorProblem(
        PrefixSampledTranslator.Config(network=QUIET), ActionSpec(num_continuous=1), model, random_labels(model), 0
    )
    assert heldout_accuracy(problem, Fit(None, (1,), (0.0,)), TranslatorRunConfig()) is None

"""The steps that studies are made of: a recording, latent action models, translators fitted on few labels."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from flexlam.acting.recording import RecordingConfig, record
from flexlam.core.seeding import derive_seed, numpy_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.readers import open_dataset
from flexlam.data.store_builder import StoreConfig, build_store
from flexlam.envs.base import open_suite
from flexlam.evaluate.reconstruction import ReconstructionConfig, measure_reconstruction
from flexlam.lam.model import LatentActionModel
from flexlam.study.config import StudyConfig
from flexlam.study.graph import Step, write_rows
from flexlam.training.fit import Fit, FitConfig
from flexlam.training.labelled import Labelled, encode_labelled, require_actions
from flexlam.training.lam import LamRunConfig, train_lam
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.runs import open_lam
from flexlam.training.translator import fit_translator
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.inverse_dynamics import PreviousActionModel
from flexlam.translator.serving import PrefixSampledTranslator, Translator


def data_step(config: StudyConfig) -> Step:
    """Record, and build the frame store."""
    settings = {"recording": config.recording.model_dump(mode="json"), "store": config.store.model_dump(mode="json")}
    return Step("data", _make_data, settings)


def frame_shape(config: StudyConfig) -> tuple[int, int, int]:
    """(H, W, C) of the stored frames."""
    height, width, channels = open_suite(config.recording.suite).frame_shape
    return (*(config.store.frame_size or (height, width)), channels)


def lam_step(data: Step, config: LamRunConfig, seed: int, about: dict[str, Any]) -> Step:
    """Train a latent action model."""
    training = config.training.model_copy(update={"seed": seed})
    settings = config.model_copy(update={"training": training}).model_dump(mode="json")
    return Step("lam", _train_lam, settings, (data,), about)


def translators_step(
    data: Step,
    lam: Step,
    config: StudyConfig,
    seed: int,
    about: dict[str, Any],
    prefix_dropout: bool = False,
    weight_decays: tuple[float, ...] = (),
    prefix_lengths: tuple[int, ...] = (),
) -> Step:
    """Fit translators on every label budget and draw, and score them at the given k on the test set.

    `weight_decays`, if given, are tried each, and the one with the lowest held-out loss inside the labels is taken.
    """
    translator = config.translator
    if prefix_dropout:
        translator = translator.model_copy(update={"prefix_sampling": config.control_sampling})
    settings = {
        "translator": translator.model_dump(mode="json"),
        "fit": config.fit.model_dump(mode="json"),
        "label_counts": config.label_counts,
        "num_draws": config.num_draws,
        "num_test": config.num_test,
        "seed": seed,
        "prefix_dropout": prefix_dropout,
        "weight_decays": weight_decays,
        "prefix_lengths": prefix_lengths,
    }
    return Step("translators", _fit_translators, settings, (data, lam), about)


def reconstruction_step(data: Step, lam: Step, config: ReconstructionConfig, about: dict[str, Any]) -> Step:
    """PSNR and SSIM of decoded test transitions."""
    return Step("reconstruction", _reconstruct, config.model_dump(mode="json"), (data, lam), about)


def floors_step(data: Step, config: StudyConfig, seed: int) -> Step:
    """What needs no model: a table of the previous action, on the same labels and on all."""
    settings = {
        "label_counts": config.label_counts,
        "num_draws": config.num_draws,
        "num_test": config.num_test,
        "seed": seed,
    }
    return Step("floors", _measure_floors, settings, (data,), {"method": "previous action", "seed": seed})


def equal_steps(reference: LamRunConfig, other: LamRunConfig, shape: tuple[int, int, int]) -> int:
    """Training steps with which another model costs as much arithmetic as the reference.

    Equal CPU-seconds, counted and not timed: every machine takes the same number.
    """
    share = training_flops(reference.lam, shape) / training_flops(other.lam, shape)
    return max(1, round(reference.training.num_steps * share))


def training_flops(config: LatentActionModel.Config, shape: tuple[int, int, int]) -> int:
    """Floating-point operations of a training step for two transitions, forward and backward."""
    model = LatentActionModel(config, shape).train()
    height, width, channels = shape
    images = torch.zeros(2, channels, height, width)
    with FlopCounterMode(display=False) as counter:
        loss, _ = model.loss(images, images, torch.Generator())
        loss.backward()
    return counter.get_total_flops()


def _make_data(step: Step, folder: Path, parents: list[Path]) -> None:
    recording, store = folder / "recording", folder / "store"
    record(RecordingConfig.parse(step.settings["recording"]), recording, overwrite=True)
    if store.exists():
        shutil.rmtree(store)
    build_store(open_dataset(recording), store, StoreConfig.parse(step.settings["store"]), announce=lambda _: None)
    shutil.rmtree(recording)


def _train_lam(step: Step, folder: Path, parents: list[Path]) -> None:
    run = folder / "run"
    config = LamRunConfig.parse(step.settings)
    train_lam(config, parents[0] / "store", run, resume=(run / "run.json").exists())


def _fit_translators(step: Step, folder: Path, parents: list[Path]) -> None:
    settings, seed = step.settings, step.settings["seed"]
    lam_run, model = open_lam(parents[1] / "run", torch.device("cpu"))
    pairs = load_pairs(parents[0] / "store", lam_run.pairs)
    test = _test_set(pairs, model, settings["num_test"])
    config: TranslatorConfig = PrefixSampledTranslator.Config.parse(settings["translator"])
    lengths = settings["prefix_lengths"] or (model.num_slots,)
    rows = []
    for count in settings["label_counts"]:
        for draw in range(settings["num_draws"]):
            labels = _labels(pairs, model, count, seed, draw)
            fit, decay = _fit(step, config, model, labels, pairs, derive_seed(seed, "fit", draw))
            chosen = {"num_steps": fit.num_steps[0], "heldout_loss": fit.heldout_loss[0], "weight_decay": decay}
            chosen["num_tried"] = len(settings["weight_decays"]) or 1
            for k in lengths:
                rows.append({"k": k, "labels": count, "draw": draw, **_score(fit.model, test, k), **chosen})
    write_rows(folder, rows)


def _reconstruct(step: Step, folder: Path, parents: list[Path]) -> None:
    lam_run, model = open_lam(parents[1] / "run", torch.device("cpu"))
    pairs = load_pairs(parents[0] / "store", lam_run.pairs)
    write_rows(folder, measure_reconstruction(model, pairs, ReconstructionConfig.parse(step.settings))["rows"])


def _fit(
    step: Step, config: TranslatorConfig, model: LatentActionModel, labels: Labelled, pairs: SplitPairs, seed: int
) -> tuple[Fit, float]:
    """The fit, and its weight decay: of several the one with the lowest held-out loss inside the labels."""
    base = FitConfig.parse(step.settings["fit"])
    tried = []
    for decay in step.settings["weight_decays"] or (base.weight_decay,):
        fit = base.model_copy(update={"weight_decay": decay})
        dropout = step.settings["prefix_dropout"]
        spec = require_actions(pairs.store)
        tried.append((fit_translator(config, spec, model, labels, fit, seed, dropout), decay))
    return min(tried, key=lambda found: found[0].heldout_loss[0])


def _measure_floors(step: Step, folder: Path, parents: list[Path]) -> None:
    settings, seed = step.settings, step.settings["seed"]
    pairs = load_pairs(parents[0] / "store", LamRunConfig().pairs)
    test = _test_set(pairs, None, settings["num_test"])
    rows = []
    for count in settings["label_counts"]:
        for draw in range(settings["num_draws"]):
            chosen = choose_labels(pairs.train, pairs.store, LabelBudget(count=count), seed, draw).rows
            rows.append(
                {"labels": count, "draw": draw, **_previous_action(_actions(pairs, "train", chosen), test, pairs)}
            )
    everything = _actions(pairs, "train", np.arange(len(pairs.train)))
    rows.append({"labels": None, "draw": None, **_previous_action(everything, test, pairs)})
    write_rows(folder, rows)


def _previous_action(labels: Labelled, test: Labelled, pairs: SplitPairs) -> dict[str, float]:
    model = PreviousActionModel(require_actions(pairs.store))
    model.fit(labels.prev_action, labels.action)
    return _scores(model, model(test.prev_action), test)


def _actions(pairs: SplitPairs, which: str, rows: np.ndarray) -> Labelled:
    """Actions of transitions, without their codes."""
    batch = getattr(pairs, which).batch(pairs.store, rows)
    return Labelled(torch.zeros(len(rows), 0, 0), batch.prev_action, batch.action)


def _labels(pairs: SplitPairs, model: LatentActionModel, count: int, seed: int, draw: int) -> Labelled:
    rows = choose_labels(pairs.train, pairs.store, LabelBudget(count=count), seed, draw).rows
    return encode_labelled(model, pairs.store, pairs.train, rows)


def _test_set(pairs: SplitPairs, model: LatentActionModel | None, count: int) -> Labelled:
    """Test transitions, the same ones for every method and seed."""
    rows = np.sort(numpy_generator(0, "test").permutation(len(pairs.test))[:count])
    return _actions(pairs, "test", rows) if model is None else encode_labelled(model, pairs.store, pairs.test, rows)


@torch.inference_mode()
def _score(translator: Translator, test: Labelled, k: int) -> dict[str, float]:
    return _scores(translator, translator(test.latents, test.prev_action, k), test)


def _scores(model: Any, outputs: torch.Tensor, test: Labelled) -> dict[str, float]:
    scores = {"action_loss": float(model.codec.loss(outputs, test.action).mean())}
    if model.codec.spec.num_choices:
        scores["action_accuracy"] = float(model.codec.correct(outputs, test.action).float().mean())
    return scores

"""How well a few labels turn codes into actions, at every prefix length, beside what needs no codes at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from flexlam.core import catalog
from flexlam.core.config import Config, component
from flexlam.core.machine import choose_precision
from flexlam.core.progress import progress
from flexlam.core.seeding import torch_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.transitions import TransitionIndex
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.intervals import estimate, paired_difference
from flexlam.nn.patches import frames_to_images
from flexlam.training.fit import FitConfig, fit_with_folds, seeded
from flexlam.training.labelled import Labelled, encode_labelled, require_actions
from flexlam.training.pairs import SplitPairs
from flexlam.training.translator import fit_translator
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.inverse_dynamics import InverseDynamicsModel, PreviousActionModel
from flexlam.translator.serving import PrefixSampledTranslator, Translator

_NUM_TEST = 4000  # test transitions at most; the same ones for every method


class AlignmentConfig(Config):
    """Settings of an alignment measurement."""

    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config()  # type: ignore[valid-type]
    """The translator."""
    labels: LabelBudget = LabelBudget(count=256)
    """How many labels, and from where."""
    num_draws: int = Field(default=8, ge=1)
    """Random draws of the labels; errors are over these."""
    prefix_lengths: tuple[int, ...] = ()
    """The k to report; empty means 0, 1, 2, 4, ... and K."""
    fit: FitConfig = FitConfig()
    """How translators are fitted."""
    idm_draws: int = Field(default=3, ge=0)
    """Draws on which the inverse dynamics baseline is trained (it is slow); 0 leaves it out."""
    idm_fit: FitConfig = FitConfig(learning_rate=1e-3, max_steps=240, evaluate_every=20, patience=3, num_folds=3)
    """How the inverse dynamics baseline is fitted."""
    seed: int = 0
    """Draws, weights and folds follow from it."""


@dataclass
class _Scores:
    """Test loss and accuracy of one method, one value a draw."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def add(self, loss: float, accuracy: float) -> None:
        self.losses.append(loss)
        self.accuracies.append(accuracy)

    def to_json(self) -> dict[str, Any]:
        loss = estimate(self.losses)
        values: dict[str, Any] = {
            "action_loss": loss.mean,
            "action_loss_stderr": _number(loss.stderr),
            "action_loss_draws": self.losses,
        }
        if np.isfinite(self.accuracies).all():  # there is no accuracy of continuous actions
            accuracy = estimate(self.accuracies)
            values["action_accuracy"] = accuracy.mean
            values["action_accuracy_stderr"] = _number(accuracy.stderr)
            values["action_accuracy_draws"] = self.accuracies
        return values


def measure_alignment(model: LatentActionModel, pairs: SplitPairs, config: AlignmentConfig) -> dict[str, Any]:
    """Rows (one a k), baselines, and paired comparisons of the full code with each baseline.

    Nothing is chosen on test episodes, nor on any label beyond the N of each draw.

    Raises:
        DataError: no actions, or fewer transitions than labels.
        ConfigError: a k that the model cannot serve.
    """
    spec = require_actions(pairs.store)
    lengths = check_prefix_lengths(config.prefix_lengths, model.num_slots)
    test_rows = _sample(pairs.test, config.seed)
    test = encode_labelled(model, pairs.store, pairs.test, test_rows)
    shuffled_test = test.with_shuffled_codes(torch_generator(config.seed, "shuffle", "test"))
    by_k = {k: _Scores() for k in lengths}
    baselines = {name: _Scores() for name in ("idm", "shuffled", "previous_action_same_labels")}
    with progress(config.num_draws + config.idm_draws, "Alignment", "fit") as bar:
        for draw in range(config.num_draws):
            rows = choose_labels(pairs.train, pairs.store, config.labels, config.seed, draw).rows
            labels = encode_labelled(model, pairs.store, pairs.train, rows)
            seed = config.seed + draw
            translator = fit_translator(config.translator, spec, model, labels, config.fit, seed).model
            for k in lengths:
                by_k[k].add(*_score(translator, test, k))
            shuffled = labels.with_shuffled_codes(torch_generator(config.seed, "shuffle", draw))
            control = fit_translator(config.translator, spec, model, shuffled, config.fit, seed).model
            baselines["shuffled"].add(*_score(control, shuffled_test, model.num_slots))
            baselines["previous_action_same_labels"].add(*_score_previous(labels, test, spec))
            bar.update()
            if draw < config.idm_draws:
                idm = _fit_idm(model, pairs, rows, labels, config, seed)
                baselines["idm"].add(*_score_idm(idm, pairs, test_rows, test))
                bar.update()
    everything = encode_actions_only(pairs.train, pairs.store)
    previous = _Scores()
    previous.add(*_score_previous(everything, test, spec))
    repeat = (test.prev_action == test.action)[:, : len(spec.num_choices)].all(-1).float().mean()
    results: dict[str, Any] = {name: scores.to_json() for name, scores in baselines.items() if scores.losses}
    results["previous_action"] = {**previous.to_json(), "num_labels": len(everything)}
    results["k0"] = by_k[0].to_json() if 0 in by_k else None
    results["repeat_previous"] = {"action_accuracy": float(repeat)} if spec.num_choices else None
    return {
        "rows": [{"k": k, "bits": k * model.bits_per_slot, **scores.to_json()} for k, scores in by_k.items()],
        "baselines": {name: value for name, value in results.items() if value is not None},
        "comparisons": _compare(by_k[max(by_k)].losses, results),
        "translator": config.translator.name,
        "num_labels": len(rows),
        "num_draws": config.num_draws,
        "num_test": len(test),
        "action_names": list(spec.names),
    }


def encode_actions_only(index: TransitionIndex, store: Any) -> Labelled:
    """Every transition's actions, without looking at frames or codes."""
    first, previous = index.first, index.previous
    before = store.actions[previous]
    before[previous < 0] = np.nan
    nothing = torch.zeros(len(first), 0, 0)
    return Labelled(nothing, torch.from_numpy(before), torch.from_numpy(store.actions[first]))


def _compare(losses: list[float], baselines: dict[str, Any]) -> dict[str, Any]:
    """Baseline's loss minus the full code's, paired by draw: positive means that codes help."""
    comparisons = {}
    for name, result in baselines.items():
        if not result or "action_loss_draws" not in result:
            continue
        other = result["action_loss_draws"]
        other = other * len(losses) if len(other) == 1 else other  # fitted once, on all labels
        count = min(len(other), len(losses))
        difference = paired_difference(other[:count], losses[:count])
        comparisons[name] = {
            "loss_difference": difference.mean,
            "stderr": _number(difference.stderr),
            "in_stderrs": _number(difference.in_stderrs),
            "num_draws": count,
        }
    return comparisons


def _sample(index: TransitionIndex, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(index))
    return np.sort(order[:_NUM_TEST])


@torch.inference_mode()
def _score(translator: Translator, test: Labelled, k: int) -> tuple[float, float]:
    return _summarise(translator, translator(test.latents, test.prev_action, k), test)


def _summarise(model: Any, outputs: Tensor, test: Labelled) -> tuple[float, float]:
    loss = model.codec.loss(outputs, test.action).mean()
    if not model.codec.spec.num_choices:
        return float(loss), float("nan")
    return float(loss), float(model.codec.correct(outputs, test.action).float().mean())


@torch.inference_mode()
def _score_previous(labels: Labelled, test: Labelled, spec: Any) -> tuple[float, float]:
    model = PreviousActionModel(spec)
    model.fit(labels.prev_action, labels.action)
    return _summarise(model, model(test.prev_action), test)


class _IdmProblem:
    """The inverse dynamics baseline and its labels, for `fit_with_folds`."""

    def __init__(
        self, build: Callable[[], InverseDynamicsModel], images: tuple[Tensor, Tensor], labels: Labelled
    ) -> None:
        self.build, self.images, self.labels = build, images, labels
        self.precision = choose_precision("auto", torch.device("cpu"))

    def parts(self, model: Any) -> Sequence[nn.Module]:
        return [model]

    def loss(self, model: Any, rows: Tensor, generator: torch.Generator) -> Tensor:
        obs, next_obs = self.images
        batch = self.labels[rows]
        with torch.autocast("cpu", self.precision, enabled=self.precision != torch.float32):
            outputs = model(obs[rows], next_obs[rows], batch.prev_action)
        return model.codec.loss(outputs.float(), batch.action).mean()

    def heldout(self, model: Any, rows: Tensor) -> Sequence[float]:
        return [float(self.loss(model, rows, torch.Generator()))]


def _fit_idm(
    model: LatentActionModel,
    pairs: SplitPairs,
    rows: np.ndarray,
    labels: Labelled,
    config: AlignmentConfig,
    seed: int,
) -> nn.Module:
    """The encoder's architecture from scratch on the same labels."""
    spec = require_actions(pairs.store)
    encoder_class = catalog.lookup("encoder", model.config.encoder.name)
    sizes = (model.frame_shape, model.num_slots, model.latent_dim)

    def build() -> InverseDynamicsModel:
        encoder = encoder_class(model.config.encoder, *sizes)
        slots_dim = model.num_slots * model.latent_dim
        translator = config.translator
        idm = InverseDynamicsModel(encoder, slots_dim, spec, translator.use_prev_action, translator.network)
        idm.codec.fit(labels.action)
        return idm

    batch = pairs.train.batch(pairs.store, rows)
    images = frames_to_images(batch.obs), frames_to_images(batch.next_obs)
    problem = _IdmProblem(lambda: seeded(build, seed, "idm"), images, labels)
    return fit_with_folds(problem, len(labels), config.idm_fit, seed).model


@torch.inference_mode()
def _score_idm(idm: nn.Module, pairs: SplitPairs, rows: np.ndarray, test: Labelled) -> tuple[float, float]:
    outputs = []
    for start in range(0, len(rows), 512):
        batch = pairs.test.batch(pairs.store, rows[start : start + 512])
        outputs.append(idm(frames_to_images(batch.obs), frames_to_images(batch.next_obs), batch.prev_action))
    return _summarise(idm, torch.cat(outputs), test)


def _number(value: float) -> float | None:
    """JSON has no NaN or infinity."""
    return value if np.isfinite(value) else None

"""How well a few labels turn codes into actions, at every prefix length, beside what needs no codes at all."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from flexlam.core.config import Config, component, without_unused
from flexlam.core.parallel import run_jobs
from flexlam.core.progress import progress
from flexlam.core.seeding import torch_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.transitions import TransitionIndex
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.intervals import estimate, paired_difference
from flexlam.policy.base import Policy
from flexlam.training.fit import FitConfig
from flexlam.training.inverse_dynamics import IDM_FIT, fit_inverse_dynamics, inverse_dynamics_scores
from flexlam.training.labelled import Labelled, encode_labelled, require_actions
from flexlam.training.pairs import SplitPairs
from flexlam.training.predictions import predict_latents
from flexlam.training.translator import fit_translator
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.inverse_dynamics import PreviousActionModel
from flexlam.translator.serving import PrefixSampledTranslator, Translator

_NUM_TEST = 4000  # test transitions at most; the same ones for every method

_Draw = dict[tuple[str, int], tuple[float, float]]
"""Test loss and accuracy of some methods on one draw of the labels; by name, and k where there is one."""


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
    idm_fit: FitConfig = IDM_FIT
    """How the inverse dynamics baseline is fitted."""
    num_samples: int = Field(default=8, ge=1)
    """Predicted latent actions of a transition over which the translator's scores are averaged, as an agent does."""
    num_workers: int = Field(default=2, ge=1)
    """Processes that share the fits, with one thread each."""
    seed: int = 0
    """Draws, weights and folds follow from it."""
    num_steps: int = Field(default=3, ge=1)
    """Euler steps from noise to a predicted latent action, where the policy is a flow."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before there were flows keep their hash, and steps of studies their folders."""
        return without_unused(self, handler(self), "num_steps")


@dataclass
class _Scores:
    """Test loss and accuracy of one method, one value a draw."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def add(self, loss: float, accuracy: float) -> None:
        self.losses.append(loss)
        self.accuracies.append(accuracy)

    @classmethod
    def gather(cls, draws: Sequence[_Draw], key: tuple[str, int]) -> "_Scores":
        """Those of the draws in which it was measured."""
        scores = cls()
        for draw in draws:
            if key in draw:
                scores.add(*draw[key])
        return scores

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, draws in (("action_loss", self.losses), ("action_accuracy", self.accuracies)):
            if draws and np.isfinite(draws).all():  # there is no accuracy of continuous actions
                found = estimate(draws)
                values[f"{prefix}{name}"] = found.mean
                values[f"{prefix}{name}_stderr"] = _number(found.stderr)
                values[f"{prefix}{name}_draws"] = draws
        return values


def measure_alignment(
    model: LatentActionModel, pairs: SplitPairs, config: AlignmentConfig, policy: Policy | None = None
) -> dict[str, Any]:
    """Rows (one a k), baselines, and paired comparisons of the full code with each baseline.

    With a policy, rows also hold the loss on the latent actions that it predicts before it sees the next frame: what
    the translator is given when an agent acts (FlexLAM App. B.3).

    Nothing is chosen on test episodes, nor on any label beyond the N of each draw.

    Raises:
        DataError: no actions, or fewer transitions than labels.
        ConfigError: a k that the model cannot serve.
    """
    lengths = check_prefix_lengths(config.prefix_lengths, model.num_slots)
    fits = _Fits(model, pairs, config, lengths, policy)
    slow = min(config.idm_draws, config.num_draws)  # these are begun first
    with progress(slow + config.num_draws, "Alignment", "fit") as bar:
        draws = run_jobs(
            lambda job: fits.of_idm(job) if job < slow else fits.of_codes(job - slow),
            slow + config.num_draws,
            config.num_workers,
            bar.update,
        )
    spec, test = fits.spec, fits.test
    by_k = {k: _Scores.gather(draws, ("encoded", k)) for k in lengths}
    predicted_by_k = {k: _Scores.gather(draws, ("predicted", k)) for k in lengths}
    baselines = {name: _Scores.gather(draws, (name, 0)) for name in ("idm", "shuffled", "previous_action_same_labels")}
    everything = encode_actions_only(pairs.train, pairs.store)
    previous = _Scores()
    previous.add(*_score_previous(everything, test, spec))
    repeat = (test.prev_action == test.action)[:, : len(spec.num_choices)].all(-1).float().mean()
    results: dict[str, Any] = {name: scores.to_json() for name, scores in baselines.items() if scores.losses}
    results["previous_action"] = {**previous.to_json(), "num_labels": len(everything)}
    results["k0"] = by_k[0].to_json() if 0 in by_k else None
    results["repeat_previous"] = {"action_accuracy": float(repeat)} if spec.num_choices else None
    return {
        "rows": [
            {"k": k, "bits": k * model.bits_per_slot, **scores.to_json(), **predicted_by_k[k].to_json("predicted_")}
            for k, scores in by_k.items()
        ],
        "baselines": {name: value for name, value in results.items() if value is not None},
        "comparisons": _compare(by_k[max(by_k)].losses, results),
        "translator": config.translator.name,
        "num_labels": len(fits.label_rows(0)),
        "num_draws": config.num_draws,
        "num_test": len(test),
        "action_names": list(spec.names),
    }


class _Fits:
    """What is fitted on a draw of the labels, scored on the same test transitions."""

    def __init__(
        self,
        model: LatentActionModel,
        pairs: SplitPairs,
        config: AlignmentConfig,
        lengths: tuple[int, ...],
        policy: Policy | None,
    ) -> None:
        self.model, self.pairs, self.config, self.lengths = model, pairs, config, lengths
        self.spec = require_actions(pairs.store)
        self.test_rows = _sample(pairs.test, config.seed)
        self.test = encode_labelled(model, pairs.store, pairs.test, self.test_rows)
        self.shuffled_test = self.test.with_shuffled_codes(torch_generator(config.seed, "shuffle", "test"))
        self.predicted: dict[int, Labelled] = {}
        if policy is not None:
            whole = _predict(model, policy, pairs, self.test_rows, self.test, config, None) if policy.nested else None
            for k in lengths:
                self.predicted[k] = whole or _predict(model, policy, pairs, self.test_rows, self.test, config, k)

    def label_rows(self, draw: int) -> np.ndarray:
        """Rows of the training transitions that a draw labels."""
        return choose_labels(self.pairs.train, self.pairs.store, self.config.labels, self.config.seed, draw).rows

    def of_codes(self, draw: int) -> _Draw:
        """Translators, and what needs no more than their labels."""
        model, test, lengths = self.model, self.test, self.lengths
        labels = encode_labelled(model, self.pairs.store, self.pairs.train, self.label_rows(draw))
        translator = self._translator(labels, draw)
        found = {("encoded", k): _score(translator, test, k) for k in lengths}
        found |= {("predicted", k): _score_averaged(translator, x, test, k) for k, x in self.predicted.items()}
        shuffled = labels.with_shuffled_codes(torch_generator(self.config.seed, "shuffle", draw))
        found["shuffled", 0] = _score(self._translator(shuffled, draw), self.shuffled_test, model.num_slots)
        found["previous_action_same_labels", 0] = _score_previous(labels, test, self.spec)
        return found

    def of_idm(self, draw: int) -> _Draw:
        """The inverse dynamics model."""
        config, pairs, translator = self.config, self.pairs, self.config.translator
        idm = fit_inverse_dynamics(
            self.model,
            pairs,
            self.label_rows(draw),
            translator.network,
            translator.use_prev_action,
            config.idm_fit,
            config.seed + draw,
        )
        scores = inverse_dynamics_scores(idm, pairs.store, pairs.test, self.test_rows, self.model.device)
        return {("idm", 0): _summarise(idm, scores, self.test)}

    def _translator(self, labels: Labelled, draw: int) -> Translator:
        config = self.config
        fit = fit_translator(config.translator, self.spec, self.model, labels, config.fit, config.seed + draw)
        translator: Translator = fit.model
        return translator


def encode_actions_only(index: TransitionIndex, store: Any) -> Labelled:
    """Every transition's actions, without looking at frames or codes."""
    first, previous = index.first, index.previous
    before = store.actions[previous]
    before[previous < 0] = np.nan
    return Labelled.without_codes(torch.from_numpy(before), torch.from_numpy(store.actions[first]))


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
    return _summarise(translator, translator(test.latents, test.prev_action, k, test.obs), test)


def _predict(
    model: LatentActionModel,
    policy: Policy,
    pairs: SplitPairs,
    rows: np.ndarray,
    test: Labelled,
    config: AlignmentConfig,
    prefix_length: int | None,
) -> Labelled:
    """Test transitions with predicted latents in the place of their own, each as often as it was drawn."""
    latents = predict_latents(
        model, policy, pairs.store, pairs.test, rows, config.num_samples, config.seed, config.num_steps, prefix_length
    )
    repeated = (x.repeat_interleave(config.num_samples, 0) for x in (test.prev_action, test.action, test.obs))
    prev_action, action, obs = repeated
    return Labelled(latents.flatten(0, 1), prev_action, action, obs)


@torch.inference_mode()
def _score_averaged(translator: Translator, predicted: Labelled, test: Labelled, k: int) -> tuple[float, float]:
    outputs = translator(predicted.latents, predicted.prev_action, k, predicted.obs)
    return _summarise(translator, translator.codec.average(outputs.unflatten(0, (len(test), -1))), test)


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


def _number(value: float) -> float | None:
    """JSON has no NaN or infinity."""
    return value if np.isfinite(value) else None

"""Translators fitted on few labels and scored on test transitions; and what needs no codes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flexlam.core.action import ActionSpec
from flexlam.core.machine import choose_device
from flexlam.core.seeding import derive_seed, numpy_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.study.config import StudyConfig
from flexlam.study.graph import Step, write_rows
from flexlam.training.fit import Fit, FitConfig
from flexlam.training.inverse_dynamics import fit_inverse_dynamics, inverse_dynamics_scores
from flexlam.training.labelled import Labelled, encode_labelled, require_actions
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs
from flexlam.training.runs import open_lam
from flexlam.training.translator import fit_translator
from flexlam.translator.base import HourglassConfig, TranslatorConfig
from flexlam.translator.inverse_dynamics import PreviousActionModel
from flexlam.translator.model import load_translator
from flexlam.translator.serving import Translator

_DRAWN = 2048
"""Labels of all draws of a budget together, at most (a single draw may hold more)."""


@dataclass(frozen=True)
class Fits:
    """Which translators to fit on a model's codes, and on what they are scored."""

    translator: TranslatorConfig
    prefix_lengths: tuple[int, ...] = ()
    """The k to score; empty means K."""
    prefix_dropout: bool = False
    """Random prefixes of a Fixed-K model's codes, too (its control)."""
    weight_decays: tuple[float, ...] = ()
    """If given, each is tried, and the one with the lowest held-out loss inside the labels is taken."""
    num_networks: int = 1
    """Translators that differ in their random numbers and are averaged: a control for averaging over prefixes."""
    label_counts: tuple[int, ...] = ()
    """Label budgets N; empty means those of the study."""
    source: str | None = None
    """The task that labels come from; None means all."""
    tested: tuple[str, ...] = ()
    """Tasks that are scored, each apart and then together; empty means all together."""

    def aimed(self, label_counts: tuple[int, ...], source: str | None, tested: tuple[str, ...]) -> "Fits":
        """The same with labels from one task (or from all), scored on given tasks."""
        return replace(self, label_counts=label_counts, source=source, tested=tested)

    def settings(self, config: StudyConfig, seed: int) -> dict[str, Any]:
        """Everything that changes the outcome, as JSON values."""
        return {
            "translator": self.translator.model_dump(mode="json"),
            "fit": config.fit.model_dump(mode="json"),
            "prefix_lengths": self.prefix_lengths,
            "prefix_dropout": self.prefix_dropout,
            "weight_decays": self.weight_decays,
            "num_networks": self.num_networks,
            **_labelling(config, seed, self.label_counts or config.label_counts, self.source, self.tested),
        }


def translators_step(data: Step, lam: Step, config: StudyConfig, fits: Fits, seed: int, about: dict[str, Any]) -> Step:
    """Fit translators on every label budget and draw, and score them at the given k on the test set."""
    return Step("translators", _fit_translators, fits.settings(config, seed), (data, lam), about)


def floors_step(data: Step, config: StudyConfig, seed: int, about: dict[str, Any]) -> Step:
    """What needs no model: a table of the previous action, on the same labels and on all."""
    settings = _labelling(config, seed, config.label_counts, None, ())
    return Step(
        "floors", _measure_floors, {**settings, "pairs": config.lam.pairs.model_dump(mode="json")}, (data,), about
    )


def idm_step(
    data: Step, lam: Step, config: StudyConfig, num_labels: int, fit: FitConfig, seed: int, about: dict[str, Any]
) -> Step:
    """An inverse dynamics model of the encoder's architecture, from scratch on N labels; it has no bottleneck."""
    settings = {
        "network": config.translator.network.model_dump(mode="json"),
        "use_prev_action": config.translator.use_prev_action,
        "fit": fit.model_dump(mode="json"),
        **_labelling(config, seed, (num_labels,), None, ()),
    }
    return Step("idm", _fit_idm, settings, (data, lam), about)


def joint_score_step(data: Step, joint: Step, config: StudyConfig, prefix_lengths: tuple[int, ...], seed: int) -> Step:
    """The translator of a joint run, on test transitions encoded by that run's model."""
    settings = {"prefix_lengths": prefix_lengths, "num_test": config.num_test}
    return Step("joint_score", _score_joint, settings, (data, joint), {**joint.about, "seed": seed})


def _labelling(
    config: StudyConfig, seed: int, counts: tuple[int, ...], source: str | None, tested: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "label_counts": counts,
        "num_draws": config.num_draws,
        "label_noise": config.label_noise,
        "num_test": config.num_test,
        "source": source,
        "tested": tested,
        "seed": seed,
    }


@dataclass(frozen=True)
class Problem:
    """What the fits of a step have in common."""

    settings: dict[str, Any]
    pairs: SplitPairs
    test_rows: np.ndarray

    @classmethod
    def open(cls, settings: dict[str, Any], store: Path, pairs: PairConfig) -> "Problem":
        """Test transitions are the same for every method and seed."""
        found = load_pairs(store, pairs)
        rows = np.arange(len(found.test))
        if tested := settings["tested"]:
            ids = [found.test.tasks.index(task) for task in tested]
            rows = np.flatnonzero(np.isin(found.test.task, ids))
        chosen = numpy_generator(0, "test").permutation(rows)[: settings["num_test"]]
        return cls(settings, found, np.sort(chosen))

    @property
    def spec(self) -> ActionSpec:
        """Of the actions."""
        return require_actions(self.pairs.store)

    @property
    def draws(self) -> list[tuple[int, int]]:
        """Every label budget with every draw; draws of large budgets differ little, and have fewer."""
        num_draws = {count: max(1, _DRAWN // count) for count in self.settings["label_counts"]}
        return [
            (count, draw) for count, most in num_draws.items() for draw in range(min(self.settings["num_draws"], most))
        ]

    def fit_seed(self, draw: int) -> int:
        """Weights and folds of a fit."""
        return derive_seed(self.settings["seed"], "fit", draw)

    def label_rows(self, count: int, draw: int) -> np.ndarray:
        """Rows of the training transitions whose labels are known."""
        budget = LabelBudget(count=count, task=self.settings["source"])
        return choose_labels(self.pairs.train, self.pairs.store, budget, self.settings["seed"], draw).rows

    def labels(self, count: int, draw: int, model: LatentActionModel | None) -> Labelled:
        """Labelled transitions, of which some have a wrong action where labels are noisy."""
        labels = self._labelled("train", self.label_rows(count, draw), model)
        generator = numpy_generator(self.settings["seed"], "label noise", draw)
        return with_label_noise(labels, self.settings["label_noise"], generator)

    def test(self, model: LatentActionModel | None) -> Labelled:
        """The test set."""
        return self._labelled("test", self.test_rows, model)

    def all_labels(self) -> Labelled:
        """Every training transition's actions, without codes."""
        return self._labelled("train", np.arange(len(self.pairs.train)), None)

    def scored(self, model: Any, outputs: torch.Tensor, test: Labelled) -> list[dict[str, Any]]:
        """Loss and accuracy over all test transitions, and of each task apart where tasks are named."""
        parts: dict[str | None, np.ndarray] = {None: np.arange(len(test))}
        tasks = self.pairs.test.task[self.test_rows]
        for task in self.settings["tested"]:
            parts[task] = np.flatnonzero(tasks == self.pairs.test.tasks.index(task))
        return [
            {"task": task, **_scores(model, outputs[rows], test[rows])} for task, rows in parts.items() if len(rows)
        ]

    def _labelled(self, which: str, rows: np.ndarray, model: LatentActionModel | None) -> Labelled:
        index: TransitionIndex = getattr(self.pairs, which)
        if model is not None:
            return encode_labelled(model, self.pairs.store, index, rows)
        batch = index.batch(self.pairs.store, rows)
        assert batch.prev_action is not None and batch.action is not None  # require_actions has seen to it
        return Labelled.without_codes(batch.prev_action, batch.action)


def with_label_noise(labels: Labelled, share: float, generator: np.random.Generator) -> Labelled:
    """A share of the labels, drawn at random, gets the action of another labelled transition.

    Wrong actions are distributed as right ones are; the previous action stays as recorded.
    """
    wrong = np.flatnonzero(generator.random(len(labels)) < share)
    action = labels.action.clone()
    action[wrong] = labels.action[generator.integers(0, len(labels), len(wrong))]
    return replace(labels, action=action)


def _fit_translators(step: Step, folder: Path, parents: list[Path]) -> None:
    settings = step.settings
    lam_run, model = open_lam(parents[1] / "run", choose_device("auto"))
    problem = Problem.open(settings, parents[0] / "store", lam_run.pairs)
    test = problem.test(model)
    config: TranslatorConfig = TranslatorConfig.parse(settings["translator"])
    rows = []
    for count, draw in problem.draws:
        labels, seed = problem.labels(count, draw, model), problem.fit_seed(draw)
        fits = [_fit(settings, config, model, labels, problem, seed + i) for i in range(settings["num_networks"])]
        fit, decay = fits[0]
        chosen = {"num_steps": fit.num_steps[0], "heldout_loss": fit.heldout_loss[0], "weight_decay": decay}
        chosen["num_tried"] = len(settings["weight_decays"]) or 1
        for k in settings["prefix_lengths"] or (model.num_slots,):
            outputs = torch.stack([_outputs(of_one.model, test, k) for of_one, _ in fits], 1)
            for score in problem.scored(fit.model, fit.model.codec.average(outputs), test):
                rows.append({"k": k, "labels": count, "draw": draw, **score, **chosen})
    write_rows(folder, rows)


def _fit(
    settings: dict[str, Any],
    config: TranslatorConfig,
    model: LatentActionModel,
    labels: Labelled,
    problem: Problem,
    seed: int,
) -> tuple[Fit, float]:
    """The fit, and its weight decay: of several the one with the lowest held-out loss inside the labels."""
    base = FitConfig.parse(settings["fit"])
    tried = []
    for decay in settings["weight_decays"] or (base.weight_decay,):
        fit = base.model_copy(update={"weight_decay": decay})
        found = fit_translator(config, problem.spec, model, labels, fit, seed, settings["prefix_dropout"])
        tried.append((found, decay))
    return min(tried, key=lambda found: sum(found[0].heldout_loss))


def _measure_floors(step: Step, folder: Path, parents: list[Path]) -> None:
    problem = Problem.open(step.settings, parents[0] / "store", PairConfig.parse(step.settings["pairs"]))
    test = problem.test(None)
    rows = []
    for count, draw in problem.draws:
        for score in _previous_action(problem, problem.labels(count, draw, None), test):
            rows.append({"labels": count, "draw": draw, **score})
    rows += [
        {"labels": "all", "draw": None, **score} for score in _previous_action(problem, problem.all_labels(), test)
    ]
    write_rows(folder, rows)


def _previous_action(problem: Problem, labels: Labelled, test: Labelled) -> list[dict[str, Any]]:
    model = PreviousActionModel(problem.spec)
    model.fit(labels.prev_action, labels.action)
    return problem.scored(model, model(test.prev_action), test)


def _fit_idm(step: Step, folder: Path, parents: list[Path]) -> None:
    settings = step.settings
    lam_run, model = open_lam(parents[1] / "run", choose_device("auto"))
    problem = Problem.open(settings, parents[0] / "store", lam_run.pairs)
    network, fit = HourglassConfig.parse(settings["network"]), FitConfig.parse(settings["fit"])
    test = problem.test(None)
    rows = []
    for count, draw in problem.draws:
        idm = fit_inverse_dynamics(
            model,
            problem.pairs,
            problem.label_rows(count, draw),
            network,
            settings["use_prev_action"],
            fit,
            problem.fit_seed(draw),
        )
        outputs = inverse_dynamics_scores(idm, problem.pairs.store, problem.pairs.test, problem.test_rows, model.device)
        rows += [{"labels": count, "draw": draw, **score} for score in problem.scored(idm, outputs, test)]
    write_rows(folder, rows)


def _score_joint(step: Step, folder: Path, parents: list[Path]) -> None:
    run = parents[1] / "run"
    lam_run, model = open_lam(run, choose_device("auto"))
    translator = load_translator(run, model.hash)
    problem = Problem.open({**step.settings, "tested": ()}, parents[0] / "store", lam_run.pairs)
    test = problem.test(model)
    rows = []
    for k in step.settings["prefix_lengths"] or (model.num_slots,):
        rows += [{"k": k, **score} for score in problem.scored(translator, _outputs(translator, test, k), test)]
    write_rows(folder, rows)


@torch.inference_mode()
def _outputs(translator: Translator, test: Labelled, k: int) -> torch.Tensor:
    return translator(test.latents, test.prev_action, k, test.obs)


def _scores(model: Any, outputs: torch.Tensor, test: Labelled) -> dict[str, float]:
    scores = {"action_loss": float(model.codec.loss(outputs, test.action).mean())}
    if model.codec.spec.num_choices:
        scores["action_accuracy"] = float(model.codec.correct(outputs, test.action).float().mean())
    return scores

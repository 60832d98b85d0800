"""Stage 3: fit a translator on the codes of a frozen model and N labels (FlexLAM §4.2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from pydantic import SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn

from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.core.action import ActionSpec
from flexlam.core.config import Config, component, without_unused
from flexlam.core.files import check_output_folder
from flexlam.core.machine import Device, choose_device, single_thread
from flexlam.core.run_folder import RunFolder
from flexlam.data.label_file import read_labels
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.location import Location
from flexlam.data.splits import split_episodes
from flexlam.lam.model import LatentActionModel
from flexlam.nn.hourglass import HourglassStack
from flexlam.policy.base import Policy
from flexlam.policy.model import load_policy
from flexlam.training.fit import Fit, FitConfig, fit_with_folds, fit_without, seeded
from flexlam.training.labelled import Labelled, encode_labelled, encode_with_actions, require_actions
from flexlam.training.latent_source import LatentSourceConfig, with_latents
from flexlam.training.pairs import load_pairs, open_store
from flexlam.training.runs import open_lam
from flexlam.training.taught import keep_label_file, whole_index
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.model import build_translator, save_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixSampledTranslator, Translator

KIND = "translator"


class TranslatorRunConfig(Config):
    """Settings of a stage-3 run."""

    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config()  # type: ignore[valid-type]
    """The translator."""
    labels: LabelBudget = LabelBudget(count=256)
    """How many labels, and from where."""
    fit: FitConfig = FitConfig()
    """How it is fitted."""
    seed: int = 0
    """Weights and folds follow from it."""
    draw: int = 0
    """Which random draw of the labels."""
    device: Device = "auto"
    """Where codes are computed."""
    latents: LatentSourceConfig = LatentSourceConfig()
    """Which latents stand for the labelled transitions."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before latents had a source keep their hash."""
        return without_unused(self, handler(self), "latents")


class TranslatorProblem:
    """A translator and its labels, for `fit_with_folds`.

    A Fixed-K model gives its translator whole codes only, unless `prefix_dropout` asks for the control that FlexLAM's
    translator has to beat: the same random prefixes of codes that were never trained for it, null-filled by their mean.
    """

    def __init__(
        self,
        config: TranslatorConfig,
        spec: ActionSpec,
        model: LatentActionModel,
        labels: Labelled,
        seed: int,
        prefix_dropout: bool = False,
    ) -> None:
        self.fixed = model.config.prefix_sampling == "full"
        self.null_latent, self.num_slots = model.prefix.null_latent.detach().cpu(), model.num_slots
        if self.fixed and prefix_dropout:
            self.null_latent = labels.latents.mean((0, 1))
        elif self.fixed:
            whole = {"prefix_sampling": "full", "prefix_lengths": (self.num_slots,)}
            config = config.model_copy(update={name: whole[name] for name in whole.keys() & type(config).model_fields})
        self.config, self.spec, self.labels, self.seed = config, spec, labels, seed

    def build(self) -> Translator:
        """A fresh translator; continuous statistics come from all N labels."""
        translator = seeded(
            lambda: build_translator(self.config, self.spec, self.null_latent, self.num_slots),
            self.seed,
            "translator",
        )
        translator.codec.fit(self.labels.action)
        return translator

    def together(self, models: Sequence[Translator]) -> "_SideBySide":
        """Translators in training at once."""
        return _SideBySide(self.labels, models)

    def parts(self, model: Translator) -> Sequence[nn.Module]:
        """The networks that stop independently."""
        return model.members()

    def loss(self, model: Translator, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Training loss of a batch of labels."""
        batch = self.labels[self.labels.one_draw(rows, generator)]
        return model.loss(batch.latents, batch.prev_action, batch.action, generator, batch.obs)

    def heldout(self, model: Translator, rows: Tensor) -> Sequence[float]:
        """Held-out loss of each network; the prefix-sampled one is judged by its mean over the reported k."""
        batch = self.labels[self.labels.all_draws(rows)]

        def loss(outputs: Tensor) -> float:
            return float(model.codec.loss(outputs, batch.action).mean())

        if isinstance(model, PerPrefixTranslator):
            return [loss(model.alone(batch.latents, batch.prev_action, k, batch.obs)) for k in model.served]
        lengths = (self.num_slots,) if self.fixed else reported_prefix_lengths(self.num_slots)
        return [sum(loss(model(batch.latents, batch.prev_action, k, batch.obs)) for k in lengths) / len(lengths)]


class _SideBySide(nn.Module):
    """The networks of several translators as one stack: many times fewer calls, each many times larger."""

    def __init__(self, labels: Labelled, models: Sequence[Translator]) -> None:
        super().__init__()
        self.labels, self.models = labels, tuple(models)
        self.stack = HourglassStack([network for model in models for network in model.members()])
        self.context = models[0].context(labels.prev_action, labels.obs)

    def train(self, mode: bool = True) -> Self:
        """Dropout and random prefixes are on, or off."""
        for model in self.models:
            model.train(mode)
        return super().train(mode)

    def loss(self, rows: Int[Tensor, "M B"], generator: torch.Generator) -> Float[Tensor, ""]:
        """Sum of the losses of all networks, as `Translator.loss` has them."""
        first, num_models = self.models[0], len(self.models)
        rows = self.labels.one_draw(rows, generator)
        inputs = first.fill(self.labels.latents[rows], generator).flatten(-2)  # (networks of a model, M, B, K D)
        inputs = torch.cat([inputs, self.context[rows].expand(len(inputs), -1, -1, -1)], -1)
        outputs = self.stack(inputs.transpose(0, 1).flatten(0, 1))
        actions = self.labels.action[rows].repeat_interleave(len(outputs) // num_models, 0)
        losses = first.codec.loss(outputs.flatten(0, 1), actions.flatten(0, 1))
        return losses.view(outputs.shape[:2]).mean(1).sum()

    def settle(self) -> None:
        """Leave the weights in the translators."""
        self.stack.settle()


def fit_translator(
    config: TranslatorConfig,
    spec: ActionSpec,
    model: LatentActionModel,
    labels: Labelled,
    fit: FitConfig,
    seed: int,
    prefix_dropout: bool = False,
) -> Fit:
    """Fit a translator on labelled codes; when to stop is chosen on those labels alone."""
    problem = TranslatorProblem(config, spec, model, labels, seed, prefix_dropout)
    with single_thread():
        return fit_with_folds(problem, labels.num_labels, fit, seed)


def heldout_accuracy(problem: TranslatorProblem, fit: Fit, config: TranslatorRunConfig) -> float | None:
    """Share of the labels that are told right, with the whole code, by translators that had not seen them.

    None of continuous actions.
    """
    if not problem.spec.num_choices:
        return None
    right, labels = 0, problem.labels
    with single_thread():
        for model, rows in fit_without(problem, labels.num_labels, fit, config.fit, config.seed):
            with torch.inference_mode():
                held = labels[labels.all_draws(rows)]
                outputs = model(held.latents, held.prev_action, problem.num_slots, held.obs)
                right += int(model.codec.correct(outputs, held.action).sum())
    return right / len(labels)


def train_translator_by_hand(
    config: TranslatorRunConfig,
    lam: Path,
    data: Path,
    label_file: Location,
    out: Path,
    overwrite: bool = False,
    policy: Path | None = None,
) -> RunFolder:
    """Run stage 3 on every label of a file (data/label_file.py) beside a store without actions.

    No previous action is known there, so the translator reads codes alone.

    Raises:
        DataError, CheckpointError, OutputError, TrainingError: see those.
    """
    lam_run, model = open_lam(lam, choose_device(config.device))
    store = open_store(data, model.frame_shape)
    gap = lam_run.pairs
    index = whole_index(store, gap)
    labels = read_labels(label_file, store, index)
    check_output_folder(out, overwrite)
    translator = config.translator.model_copy(update={"use_prev_action": False})
    config = config.model_copy(update={"translator": translator, "labels": LabelBudget(count=len(labels))})
    codes = encode_with_actions(model, store, index, labels.rows, labels.actions)
    deciding = None if policy is None else load_policy(policy, model.hash, model.device)
    codes = with_latents(config.latents, model, deciding, store, index, labels.rows, codes, config.seed)
    fit = fit_translator(translator, labels.spec, model, codes, config.fit, config.seed)
    accuracy = heldout_accuracy(TranslatorProblem(translator, labels.spec, model, codes, config.seed), fit, config)
    splits = split_episodes(store, gap.split, gap.split_seed)
    unseen = {*splits.validation, *splits.test} & set(index.episode[labels.rows].tolist())
    parents = _parents(config, model, store.content_hash, deciding)
    run = RunFolder.create(out, KIND, config.model_dump(mode="json"), parents, overwrite)
    keep_label_file(label_file, run.path)
    about: dict[str, Any] = {
        "num_steps": fit.num_steps,
        "heldout_loss": fit.heldout_loss,
        "labels": labels.describe(),
        "num_labels": len(labels),
        "heldout_accuracy": accuracy,
        "labelled_heldout_episodes": sorted(store.episodes.names[episode] for episode in unseen),
    }
    run.write_json("fit.json", about)
    _save(fit.model, run, parents)
    return run


def train_translator(
    config: TranslatorRunConfig,
    lam: Path,
    data: Path,
    out: Path,
    overwrite: bool = False,
    policy: Path | None = None,
) -> RunFolder:
    """Run stage 3: OUT/model holds the translator, OUT/labels.parquet the labelled transitions it has seen.

    `policy` is the run whose latents the settings ask for, if they do; it has to be one of this model in any case.

    Raises:
        DataError, CheckpointError, OutputError, TrainingError: see those.
    """
    lam_run, model = open_lam(lam, choose_device(config.device))
    pairs = load_pairs(data, lam_run.pairs, model.frame_shape)
    spec = require_actions(pairs.store)
    labels = choose_labels(pairs.train, pairs.store, config.labels, config.seed, config.draw)
    deciding = None if policy is None else load_policy(policy, model.hash, model.device)
    parents = _parents(config, model, pairs.store.content_hash, deciding)
    check_output_folder(out, overwrite)
    encoded = encode_labelled(model, pairs.store, pairs.train, labels.rows)
    latents = with_latents(config.latents, model, deciding, pairs.store, pairs.train, labels.rows, encoded, config.seed)
    fit = fit_translator(config.translator, spec, model, latents, config.fit, config.seed)
    run = RunFolder.create(out, KIND, config.model_dump(mode="json"), parents, overwrite)
    labels.save(run.path / "labels.parquet")
    run.write_json("fit.json", {"num_steps": fit.num_steps, "heldout_loss": fit.heldout_loss})
    _save(fit.model, run, parents)
    return run


def _save(translator: Translator, run: RunFolder, parents: dict[str, str]) -> None:
    """The bundle knows the policy only if it has learned from its latents."""
    learned_from = {"policy_hash": parents["policy"]} if "policy" in parents else {}
    save_translator(translator, run.model, parents["lam"], data_hash=parents["data"], **learned_from)


def _parents(
    config: TranslatorRunConfig, model: LatentActionModel, data_hash: str, policy: Policy | None
) -> dict[str, str]:
    """What the translator is made from; a policy only if its latents are."""
    parents = {"lam": model.hash or "", "data": data_hash}
    if policy is None or config.latents.source == "inferred":
        return parents
    return {**parents, "policy": policy.hash or ""}

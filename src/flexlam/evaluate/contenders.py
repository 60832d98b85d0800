"""Everybody who acts in a comparison of returns, by name: the agent at every k, its controls, and clones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from flexlam.acting.actor import Actor
from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.baselines import (
    BehaviourActor,
    CloningActor,
    MarginalActor,
    MarkovActor,
    Uniform,
    is_single_choice,
    recorded_actions,
    require_single_choice,
)
from flexlam.core.action import ActionSpec
from flexlam.core.config import Config, component, without_unused
from flexlam.core.machine import Precision
from flexlam.core.parallel import run_jobs
from flexlam.core.seeding import torch_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.policy.base import Policy
from flexlam.training.cloning import Clone, CloningConfig, clone_all, clone_labels, clone_pseudo
from flexlam.training.fit import FitConfig
from flexlam.training.inverse_dynamics import IDM_FIT, pseudo_label
from flexlam.training.labelled import Labelled, encode_labelled, require_actions
from flexlam.training.latent_source import LatentSourceConfig, with_latents
from flexlam.training.pairs import SplitPairs
from flexlam.training.translator import fit_translator
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.serving import PrefixSampledTranslator, Translator

Maker = Callable[[str, DrawRule, int], Actor]
"""An actor for a task, under a rule, in a number of slots."""
Baseline = Literal[
    "random", "constant", "marginal", "markov", "shuffled", "cloning", "cloning_same_labels", "idm_cloning"
]
BLIND: tuple[Baseline, ...] = ("constant", "marginal", "markov")
CLONES: tuple[Baseline, ...] = ("cloning", "cloning_same_labels", "idm_cloning")


class ContenderConfig(Config):
    """Settings of everybody who acts."""

    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config(use_prev_action=False)  # type: ignore[valid-type]
    """The agent's translator. An agent that is given a_{t-1} tends to repeat itself (docs/decisions.md)."""
    labels: LabelBudget = LabelBudget(count=256)
    """How many labels, and from where."""
    draw: int = 0
    """Which random draw of the labels."""
    fit: FitConfig = FitConfig()
    """How translators are fitted."""
    rule: DrawRule = DrawRule()
    """How codes and actions are drawn, by everybody alike."""
    precision: Precision = "auto"
    """Of the encoder in the agent; auto takes bf16 where the hardware computes in it."""
    cloning: CloningConfig = CloningConfig()
    """Behaviour cloning."""
    idm_fit: FitConfig = IDM_FIT
    """How the inverse dynamics model that gives pseudo-labels is fitted."""
    baselines: tuple[Baseline, ...] = ("random", *BLIND, "shuffled", *CLONES)
    """Whom to compare with."""
    num_shuffles: int = Field(default=4, ge=1)
    """Shuffles of the codes from which controls learn; episodes are shared among them, for one may succeed by luck."""
    num_workers: int = Field(default=2, ge=1)
    """Processes that share fits and episodes, each with one thread and an actor of its own; use 1 with a GPU."""
    seed: int = 0
    """Weights, label draws and everything drawn while acting follow from it."""
    latents: LatentSourceConfig = LatentSourceConfig()
    """Which latents stand for the labelled transitions from which the agent's translator learns."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before latents had a source keep their hash, and steps of studies their folders."""
        return without_unused(self, handler(self), "latents")


def usual_baselines(config: ContenderConfig, spec: ActionSpec) -> tuple[Baseline, ...]:
    """The baselines of the settings; where nobody has chosen them, less the Markov chain if there can be none."""
    chosen = config.baselines != type(config).model_fields["baselines"].default
    if chosen or is_single_choice(spec):
        return config.baselines
    return tuple(name for name in config.baselines if name != "markov")


@dataclass(frozen=True)
class Contenders:
    """Trained once, used in every task."""

    agent: Callable[[int, DrawRule, int], Agent]
    """The agent at a k, under a rule, in a number of slots."""
    shuffled: tuple[Callable[[int, DrawRule, int], Agent], ...]
    """The same with translators that learned from the codes of other transitions, each from another shuffle."""
    others: dict[str, Maker]
    """The other baselines by name; "constant" is missing, because which constant is a choice of its own."""
    translator: Translator
    """That of the agent."""
    num_labels: int
    """Labels that the agent, and whoever has no more than its labels, learned from."""


def train_contenders(lam: LatentActionModel, policy: Policy, pairs: SplitPairs, config: ContenderConfig) -> Contenders:
    """Fit translators and clones on the training episodes.

    Raises:
        DataError: the store holds no actions, or fewer transitions than labels.
        ConfigError: a Markov chain is wanted of actions that are not a single choice.
    """
    spec, store, seed = require_actions(pairs.store), pairs.store, config.seed
    if "markov" in config.baselines:
        require_single_choice(spec)  # now, not when everybody else has acted
    rows = choose_labels(pairs.train, store, config.labels, seed, config.draw).rows
    encoded = encode_labelled(lam, store, pairs.train, rows)
    labels = with_latents(config.latents, lam, policy, store, pairs.train, rows, encoded, seed)

    fits: dict[str, Callable[[], Any]] = {"agent": lambda: _fit(lam, labels, config, spec)}
    if "cloning_same_labels" in config.baselines:
        fits["cloning_same_labels"] = lambda: clone_labels(config.cloning, pairs, rows, seed)
    if "shuffled" in config.baselines:
        for number in range(config.num_shuffles):
            generator = torch_generator(seed, "shuffle", config.draw, number)
            mixed = labels.with_shuffled_codes(generator)
            fits[f"shuffled {number}"] = partial(_fit, lam, mixed, config, spec)
    names = list(fits)
    fitted = dict(zip(names, run_jobs(lambda job: fits[names[job]](), len(fits), config.num_workers), strict=True))

    makers: dict[str, Callable[[], Maker]] = {
        "random": lambda: lambda task, rule, slots: BehaviourActor(Uniform),
        "marginal": lambda: lambda task, rule, slots: MarginalActor(recorded_actions(store, pairs.train, task)[1]),
        "markov": lambda: lambda task, rule, slots: MarkovActor(*recorded_actions(store, pairs.train, task), spec),
        "cloning": lambda: _acting(clone_all(config.cloning, pairs, seed)),
        "cloning_same_labels": lambda: _acting(fitted["cloning_same_labels"]),
        "idm_cloning": lambda: _acting(
            clone_pseudo(config.cloning, pairs, pseudo_label(lam, pairs, rows, seed, fit=config.idm_fit), seed)
        ),
    }

    def agents(translator: Translator) -> Callable[[int, DrawRule, int], Agent]:
        return lambda k, rule, slots: Agent(lam, policy, translator, k, rule, slots, config.precision)

    return Contenders(
        agents(fitted["agent"]),
        tuple(agents(fitted[name]) for name in names if name.startswith("shuffled")),
        {name: make() for name, make in makers.items() if name in config.baselines},
        fitted["agent"],
        len(rows),
    )


def constant_actions(store: FrameStore, index: TransitionIndex, task: str) -> list[np.ndarray]:
    """Constants (A,) worth trying in a task: every recorded choice, or the mean where actions are continuous."""
    _, actions = recorded_actions(store, index, task)
    if require_actions(store).num_continuous:
        return [actions.mean(0)]
    return list(np.unique(actions, axis=0))


def _fit(lam: LatentActionModel, labels: Labelled, config: ContenderConfig, spec: ActionSpec) -> Translator:
    translator: Translator = fit_translator(config.translator, spec, lam, labels, config.fit, config.seed).model
    return translator


def _acting(clone: Clone) -> Maker:
    return lambda task, rule, slots: CloningActor(clone, slots, rule.temperature)

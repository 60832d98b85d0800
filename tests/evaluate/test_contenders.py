"""Everybody learns from the same few labels of training episodes, is trained only if asked for, and can act."""

from typing import Any

import numpy as np
import pytest
import torch

from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.baselines import CloningActor
from flexlam.acting.rollout import Arena
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.data.labels import LabelBudget
from flexlam.evaluate import contenders
from flexlam.evaluate.contenders import (
    BLIND,
    CLONES,
    ContenderConfig,
    Contenders,
    constant_actions,
    train_contenders,
    usual_baselines,
)
from flexlam.policy.cloning import CloningPolicy
from flexlam.training.cloning import CloningConfig
from flexlam.training.pairs import PairConfig, load_pairs
from flexlam.training.translator import fit_translator
from moving_square import CONTINUOUS, MIXED, square_store
from recorded_square import Parts, random_parts, record_squares
from square_world import SquareSuite
from tiny import FIT

BRIEF = FIT.model_copy(update={"max_steps": 10})
CLONING = CloningConfig(
    network=CloningPolicy.Config(channels=(8, 8), hidden_dim=16), num_steps=3, fit=BRIEF, device="cpu"
)
CONFIG = ContenderConfig(
    labels=LabelBudget(count=60), fit=BRIEF, idm_fit=BRIEF, cloning=CLONING, num_shuffles=3, num_workers=1
)
RULE = DrawRule(num_samples=2, temperature=0.5)


def train(parts: Parts, **changes: object) -> Contenders:
    return train_contenders(parts.lam, parts.policy, parts.pairs, CONFIG.model_copy(update=changes))


@pytest.fixture(scope="module")
def trained(parts: Parts) -> Contenders:
    return train(parts)


def test_everybody_is_there_and_acts(trained: Contenders, parts: Parts) -> None:
    assert set(trained.others) == {"random", "marginal", "markov", *CLONES}
    assert len(trained.shuffled) == 3
    makers = {name: lambda slots, make=make: make("short", RULE, slots) for name, make in trained.others.items()}
    makers |= {f"shuffle {n}": lambda slots, make=make: make(2, RULE, slots) for n, make in enumerate(trained.shuffled)}
    makers |= {f"k{k}": lambda slots, k=k: trained.agent(k, RULE, slots) for k in range(parts.lam.num_slots + 1)}
    with Arena(SquareSuite(), "short", 2) as arena:
        for name, make in makers.items():
            played = arena.play(make, 3, seed=0, num_kept=1)
            assert [episode.num_decisions for episode in played] == [12, 12, 12], name
            assert all(action in range(5) for action in np.concatenate(played[0].actions)), name


def test_an_agent_is_made_for_a_k_a_rule_and_a_number_of_slots(trained: Contenders, parts: Parts) -> None:
    agent = trained.agent(2, RULE, 5)
    assert (agent.prefix_length, agent.rule, agent.num_environments) == (2, RULE, 5)
    assert agent.translator is trained.translator and not trained.translator.config.use_prev_action
    control = trained.shuffled[0](parts.lam.num_slots, RULE, 5)
    assert isinstance(control, Agent) and control.prefix_length == parts.lam.num_slots
    assert control.translator is not trained.translator
    clone = trained.others["cloning"]("short", RULE, 5)
    assert isinstance(clone, CloningActor) and clone._temperature == RULE.temperature


def test_only_those_asked_for_are_trained(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clone_all", "clone_labels", "clone_pseudo", "pseudo_label"):
        monkeypatch.setattr(contenders, name, lambda *arguments, **settings: pytest.fail("nobody asked for a clone"))
    assert set(train(parts, baselines=("random", *BLIND)).others) == {"random", "marginal", "markov"}
    assert train(parts, baselines=()).others == {}


def test_all_learn_from_the_same_labels_and_the_control_from_shuffled_codes(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"translators": []}

    def fit(config: Any, spec: Any, lam: Any, labels: Any, *rest: Any) -> Any:
        given["translators"].append(labels)
        return fit_translator(config, spec, lam, labels, *rest)

    def keep(name: str) -> None:
        original = getattr(contenders, name)

        def noting(*arguments: Any, **settings: Any) -> Any:
            given[name] = arguments
            return original(*arguments, **settings)

        monkeypatch.setattr(contenders, name, noting)

    monkeypatch.setattr(contenders, "fit_translator", fit)
    keep("clone_labels")
    keep("pseudo_label")
    trained = train(parts)
    own, *others = given["translators"]
    rows, rows_of_idm = given["clone_labels"][2], given["pseudo_label"][2]
    np.testing.assert_array_equal(rows, rows_of_idm)
    assert trained.num_labels == len(own) == len(set(rows.tolist())) == 60
    assert parts.pairs.store.actions is not None
    np.testing.assert_array_equal(own.action, parts.pairs.store.actions[parts.pairs.train.first[rows]])
    assert len(others) == 3
    for shuffled in others:
        assert torch.equal(own.action, shuffled.action) and not torch.equal(own.latents, shuffled.latents)
        as_sets = [sorted(latents.flatten(1).tolist()) for latents in (own.latents, shuffled.latents)]
        assert as_sets[0] == as_sets[1], "the same codes, dealt to other transitions"
    assert not torch.equal(others[0].latents, others[1].latents), "each shuffle is another one"


def test_a_share_of_labels_is_counted(parts: Parts) -> None:
    share = train(parts, baselines=(), labels=LabelBudget(fraction=0.25))
    assert share.num_labels == pytest.approx(0.25 * len(parts.pairs.train), abs=1)


def test_a_seed_and_a_draw_settle_everything(parts: Parts) -> None:
    def weights(**changes: object) -> list[torch.Tensor]:
        translator = train(parts, baselines=(), **changes).translator
        return [parameter.detach() for parameter in translator.network.parameters()]

    first = weights()
    assert all(torch.equal(a, b) for a, b in zip(first, weights(), strict=True))
    for changes in ({"seed": 1}, {"draw": 1}):
        assert not all(torch.equal(a, b) for a, b in zip(first, weights(**changes), strict=True))


def test_constants_worth_trying(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = constant_actions(parts.pairs.store, parts.pairs.train, "short")
    assert sorted(float(action[0]) for action in found) == [0, 1, 2, 3, 4]
    for spec in (CONTINUOUS, MIXED):
        store = square_store(tmp_path_factory.mktemp("actions"), 6, 10, spec)
        pairs = load_pairs(store.path, PairConfig())
        (mean,) = constant_actions(store, pairs.train, "a")
        assert store.actions is not None
        rows = pairs.train.first[pairs.train.task == pairs.train.tasks.index("a")]
        np.testing.assert_allclose(mean, store.actions[rows].mean(0), rtol=1e-5)


def test_a_markov_chain_that_cannot_be_is_refused_before_anything_is_trained(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = random_parts(square_store(tmp_path_factory.mktemp("continuous"), 6, 10, CONTINUOUS).path)
    monkeypatch.setattr(contenders, "fit_translator", lambda *a: pytest.fail("trained before it was refused"))
    with pytest.raises(ConfigError, match=r'single choice.*"markov" out of the baselines.*--baselines random'):
        train(parts)
    chosen = ContenderConfig(baselines=("random", "markov"))
    assert usual_baselines(chosen, CONTINUOUS) == chosen.baselines, "what is asked for is not dropped"
    default = ContenderConfig()
    assert set(default.baselines) - set(usual_baselines(default, CONTINUOUS)) == {"markov"}
    assert usual_baselines(default, ActionSpec(num_choices=(5,))) == default.baselines


def test_what_cannot_be_learned_from_is_refused(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> None:
    bare = record_squares(tmp_path_factory.mktemp("bare"), 60, actions=False)
    with pytest.raises(DataError, match="no actions"):
        train(random_parts(bare), baselines=())
    with pytest.raises(DataError, match="fewer labels"):
        train(parts, baselines=(), labels=LabelBudget(count=9999))

"""Labels with a policy's latents: what is drawn, how often, and that a label stays one label."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.core.run_folder import RunFolder
from flexlam.core.seeding import seeded_torch
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.store import FrameStore
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.lam.model import LatentActionModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.regression import RegressionPolicy
from flexlam.training.frame_policy import space_of
from flexlam.training.labelled import Labelled, encode_labelled
from flexlam.training.latent_source import LatentSourceConfig, with_latents
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs
from flexlam.training.translator import TranslatorProblem, TranslatorRunConfig, fit_translator
from flexlam.translator.serving import PrefixSampledTranslator
from moving_square import DISCRETE
from small_spaces import TRUNK
from tiny import FIT


@pytest.fixture(scope="module")
def lam(learned: RunFolder) -> LatentActionModel:
    return LatentActionModel.from_pretrained(learned.path)


@pytest.fixture(scope="module")
def pairs(store: FrameStore) -> SplitPairs:
    return load_pairs(store.path, PairConfig())


@pytest.fixture(scope="module")
def rows(pairs: SplitPairs) -> np.ndarray:
    return choose_labels(pairs.train, pairs.store, LabelBudget(count=24), seed=0).rows


@pytest.fixture(scope="module")
def labels(lam: LatentActionModel, pairs: SplitPairs, rows: np.ndarray) -> Labelled:
    return encode_labelled(lam, pairs.store, pairs.train, rows)


@pytest.fixture(scope="module")
def flow(lam: LatentActionModel) -> FlowPolicy:
    """Weights drawn at random, large enough that draws differ."""
    with seeded_torch(0, "policy"):
        policy = FlowPolicy(FlowPolicy.Config(trunk=TRUNK, hidden_dim=32), lam.frame_shape, space_of(lam)).eval()
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return policy


def given(
    config: LatentSourceConfig,
    lam: LatentActionModel,
    policy: object,
    pairs: SplitPairs,
    rows: np.ndarray,
    of: Labelled,
) -> Labelled:
    return with_latents(config, lam, policy, pairs.store, pairs.train, rows, of, seed=3)


def test_inferred_latents_are_the_encoders(
    lam: LatentActionModel, flow: FlowPolicy, pairs: SplitPairs, rows: np.ndarray, labels: Labelled
) -> None:
    assert given(LatentSourceConfig(), lam, None, pairs, rows, labels) is labels
    assert given(LatentSourceConfig(), lam, flow, pairs, rows, labels) is labels


@pytest.mark.parametrize("source", ["sampled", "interpolated"])
def test_every_label_gets_fresh_draws_that_are_valid_codes(
    source: str, lam: LatentActionModel, flow: FlowPolicy, pairs: SplitPairs, rows: np.ndarray, labels: Labelled
) -> None:
    config = LatentSourceConfig.parse({"source": source, "num_draws": 5})
    found = given(config, lam, flow, pairs, rows, labels)
    assert (len(found), found.num_draws, found.num_labels) == (120, 5, 24)
    assert torch.equal(found.action, labels.action.repeat_interleave(5, 0))
    assert torch.equal(found.obs, labels.obs.repeat_interleave(5, 0))
    projected, _ = lam.quantizer.project(found.latents)
    torch.testing.assert_close(projected, found.latents)
    draws = found.latents.unflatten(0, (24, 5))
    assert not torch.equal(draws[:, 0], draws[:, 1])
    assert torch.equal(given(config, lam, flow, pairs, rows, labels).latents, found.latents)


def test_a_flow_that_starts_at_the_encoded_latent_stays_there(
    lam: LatentActionModel,
    flow: FlowPolicy,
    pairs: SplitPairs,
    rows: np.ndarray,
    labels: Labelled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a flow that stands still, what comes out tells where it started and over how many steps it went."""
    steps: list[tuple[float, int]] = []

    def stand_still(
        self: FlowPolicy, seen: object, points: torch.Tensor, k: int, num_steps: int, time: float
    ) -> object:
        steps.append((time, num_steps))
        return points * self.scale + self.centre

    monkeypatch.setattr(FlowPolicy, "generate", stand_still)
    config = LatentSourceConfig(source="interpolated", interpolation=0.999, num_draws=2, num_steps=5)
    found = given(config, lam, flow, pairs, rows, labels)
    torch.testing.assert_close(found.latents, labels.latents.repeat_interleave(2, 0))
    assert set(steps) == {(0.999, 1)}
    shares = {0.5: 3, 0.4: 3, 0.2: 4, 0.01: 5}
    assert {t: config.model_copy(update={"interpolation": t}).remaining_steps() for t in shares} == shares


def test_what_a_policy_cannot_do_is_told(
    lam: LatentActionModel, pairs: SplitPairs, rows: np.ndarray, labels: Labelled
) -> None:
    with pytest.raises(ConfigError, match="--policy RUN"):
        given(LatentSourceConfig(source="sampled"), lam, None, pairs, rows, labels)
    config = RegressionPolicy.Config(trunk=TRUNK, hidden_dim=8)
    regression = RegressionPolicy(config, lam.frame_shape, space_of(lam)).eval()
    assert given(LatentSourceConfig(source="sampled"), lam, regression, pairs, rows, labels).num_draws == 1
    with pytest.raises(ConfigError, match="a flow alone can do; this is a regression-policy"):
        given(LatentSourceConfig(source="interpolated"), lam, regression, pairs, rows, labels)


def test_draws_of_a_label_stay_on_one_side_of_a_fold(labels: Labelled) -> None:
    drawn = replace(labels, num_draws=4)
    rows = torch.tensor([0, 2, 5])
    assert drawn.all_draws(rows).tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 20, 21, 22, 23]
    generator = torch.Generator().manual_seed(0)
    many = torch.stack([drawn.one_draw(rows, generator) for _ in range(60)])
    assert torch.equal(many // 4, rows.expand(60, -1)) and len(many.unique()) == 12
    assert labels.one_draw(rows, generator) is rows and torch.equal(labels.all_draws(rows), rows)


def test_equal_draws_change_no_judgement_and_a_fit_counts_labels(lam: LatentActionModel, labels: Labelled) -> None:
    repeated = Labelled(
        *(getattr(labels, name).repeat_interleave(3, 0) for name in ("latents", "prev_action", "action", "obs")),
        num_draws=3,
    )
    config = PrefixSampledTranslator.Config()
    once, thrice = (TranslatorProblem(config, DISCRETE, lam, x, seed=0) for x in (labels, repeated))
    model, rows = once.build().eval(), torch.arange(10)
    with torch.inference_mode():
        assert thrice.heldout(model, rows) == pytest.approx(once.heldout(model, rows), rel=1e-5)
    fit = fit_translator(config, DISCRETE, lam, repeated, FIT, seed=0)
    assert fit.num_steps[0] >= FIT.evaluate_every and np.isfinite(fit.heldout_loss).all()


def test_settings_that_take_the_encoders_latents_are_written_as_before_there_was_a_choice() -> None:
    for config_class in (TranslatorRunConfig, ReturnsConfig):
        assert "latents" not in config_class().model_dump(mode="json")
        config = config_class.parse({"latents": {"source": "sampled"}})
        assert config_class.parse(config.model_dump(mode="json")) == config

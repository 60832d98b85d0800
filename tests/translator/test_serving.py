from typing import Any

import pytest
import torch
from torch import Tensor

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError
from flexlam.nn.patches import THUMBNAIL_DIM
from flexlam.translator.base import HourglassConfig
from flexlam.translator.serving import (
    PerPrefixTranslator,
    PrefixEnsembleTranslator,
    PrefixSampledTranslator,
    Translator,
)

K, D = 5, 3
SPEC = ActionSpec(num_choices=(4,), num_continuous=1)
NULL = torch.tensor([0.1, 0.2, 0.3])
KINDS = (PrefixSampledTranslator, PerPrefixTranslator, PrefixEnsembleTranslator)


def make(kind: type[Any], **settings: object) -> Translator:
    torch.manual_seed(0)
    network = HourglassConfig(wide_dim=16, narrow_dim=8, num_blocks=1, dropout=0, input_dropout=0)
    return kind(kind.Config.parse({"network": network, **settings}), SPEC, NULL, K)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, previous actions (the last one missing), actions."""
    rng = torch.Generator().manual_seed(1)
    actions = torch.cat([torch.randint(0, 4, (12, 1), generator=rng), torch.randn(12, 1, generator=rng)], 1)
    previous = actions.roll(1, 0)
    previous[-1] = torch.nan
    return torch.randn(6, K, D, generator=rng), previous[6:], actions[6:]


def test_a_prefix_sampled_translator_serves_every_k(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    translator = make(PrefixSampledTranslator)
    assert translator.served == tuple(range(K + 1))
    for k in translator.served:
        assert translator(batch[0], batch[1], k).shape == (6, SPEC.num_dims + 3)


@pytest.mark.parametrize("kind", KINDS)
def test_slots_beyond_k_never_matter_and_those_within_do(kind: type[Any], batch: tuple[Tensor, Tensor, Tensor]) -> None:
    translator = make(kind, **({"prefix_lengths": range(K + 1)} if kind is not PrefixSampledTranslator else {}))
    latents, previous, _ = batch
    for k in range(K + 1):
        outputs = translator(latents, previous, k)
        beyond, within = latents.clone(), latents.clone()
        beyond[:, k:] = 99.0
        assert torch.equal(translator(beyond, previous, k), outputs)
        if k:
            within[:, k - 1] += 1.0
            assert not torch.allclose(translator(within, previous, k), outputs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_previous_action_counts_only_where_it_is_asked_for(
    kind: type[Any], batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    latents, previous, _ = batch
    other = previous.roll(1, 0)
    with_it, without = make(kind), make(kind, use_prev_action=False)
    assert not torch.allclose(with_it(latents, previous, K), with_it(latents, other, K))
    assert torch.equal(without(latents, previous, K), without(latents, other, K))
    assert with_it(latents, previous, 0).isfinite().all(), "the first step of an episode has no previous action"


@pytest.mark.parametrize("kind", KINDS)
def test_a_k_outside_the_model_is_refused(kind: type[Any], batch: tuple[Tensor, Tensor, Tensor]) -> None:
    for k in (-1, K + 1):
        with pytest.raises(ConfigError, match=str(k)):
            make(kind)(batch[0], batch[1], k)


def test_a_translator_per_prefix_refuses_a_k_that_it_has_no_network_for(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    assert make(PerPrefixTranslator).served == (0, 1, 2, 4, 5)
    translator = make(PerPrefixTranslator, prefix_lengths=(4, 2, 2))
    assert translator.served == (2, 4)
    with pytest.raises(ConfigError, match=r"serves prefix lengths \(2, 4\); got 3"):
        translator(batch[0], batch[1], 3)


def test_an_ensemble_says_what_its_networks_say_on_average(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    latents, previous, action = batch
    ensemble, apart = make(PrefixEnsembleTranslator), make(PerPrefixTranslator)
    apart.load_state_dict(ensemble.state_dict())
    with torch.no_grad():
        for number, parameter in enumerate(ensemble.parameters()):
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(number))
    apart.load_state_dict(ensemble.state_dict())
    said = {k: apart(latents, previous, k) for k in apart.served}
    for k, members in {0: (0,), 1: (1,), 4: (1, 2, 4), 5: (1, 2, 4, 5)}.items():
        found = ensemble(latents, previous, k)
        chances = torch.stack([torch.softmax(said[j][:, :4], -1) for j in members]).mean(0)
        assert torch.allclose(torch.softmax(found[:, :4], -1), chances, atol=1e-6)
        assert torch.allclose(found[:, 4], torch.stack([said[j][:, 4] for j in members]).mean(0), atol=1e-6)
    losses = [apart.codec.loss(outputs, action).mean() for outputs in said.values()]
    assert torch.allclose(ensemble.loss(*batch), torch.stack(losses).sum()), "each network is trained alone"


@pytest.mark.parametrize("kind", KINDS)
def test_the_frame_counts_only_where_it_is_asked_for(kind: type[Any], batch: tuple[Tensor, Tensor, Tensor]) -> None:
    latents, previous, _ = batch
    obs = torch.randn(6, THUMBNAIL_DIM, generator=torch.Generator().manual_seed(2))
    with_it, without = make(kind, use_obs=True), make(kind)
    assert not torch.allclose(with_it(latents, previous, K, obs), with_it(latents, previous, K, -obs))
    assert torch.equal(without(latents, previous, K, obs), without(latents, previous, K))
    with pytest.raises(ConfigError, match="reads o_t"):
        with_it(latents, previous, K)


def test_networks_per_prefix_are_independent(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """The gradient of one network is the same whichever others are trained beside it."""
    alone, together = make(PerPrefixTranslator, prefix_lengths=(2,)), make(PerPrefixTranslator, prefix_lengths=(2, 4))
    together.networks["2"].load_state_dict(alone.networks["2"].state_dict())
    before = together(*batch[:2], 4)
    for translator in (alone, together):
        translator.loss(*batch).backward()
    for one, other in zip(alone.networks["2"].parameters(), together.networks["2"].parameters(), strict=True):
        assert one.grad is not None and torch.allclose(one.grad, other.grad)
    with torch.no_grad():
        for parameter in together.networks["2"].parameters():
            parameter.add_(1.0)
    assert torch.equal(together(*batch[:2], 4), before)


def test_the_prefix_sampled_loss_follows_its_generator_and_its_distribution(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    def loss(translator: Translator, seed: int) -> float:
        return float(translator.loss(*batch, torch.Generator().manual_seed(seed)).detach())

    sampled, whole = make(PrefixSampledTranslator), make(PrefixSampledTranslator, prefix_sampling="full")
    assert loss(sampled, 0) == loss(sampled, 0) != loss(sampled, 1)
    expected = float(whole.codec.loss(whole(*batch[:2], K), batch[2]).mean().detach())
    assert loss(whole, 0) == loss(whole, 1) == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_null_latent_of_the_model_is_taken_over_and_frozen(
    kind: type[Any], batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    translator = make(kind)
    assert torch.equal(translator.prefix.null_latent, NULL) and not translator.prefix.null_latent.requires_grad
    nothing = NULL.expand(6, K, D)
    assert torch.equal(translator(nothing, batch[1], 0), translator(batch[0], batch[1], 0))

import pytest
import torch
from vector_quantize_pytorch import FSQ as OracleFSQ

from flexlam.bottleneck.fsq import FSQ
from flexlam.core.errors import ConfigError

LEVELS = [(8, 5, 5, 5), (7, 5, 5, 5, 5), (4, 3), (3, 6), (9,)]


def test_projection_rounds_to_the_nearest_level_and_stays_on_the_grid() -> None:
    quantizer = FSQ(FSQ.Config(levels=(5, 4)), 1)
    latents = torch.tensor([[0.2, 0.2], [0.3, 0.8], [-7.0, -0.6], [0.74, 7.0]])[:, None]
    projected, indices = quantizer.project(latents)
    expected = torch.tensor([[0.0, 0.0], [0.5, 0.5], [-1.0, -0.5], [0.5, 0.5]])[:, None]
    torch.testing.assert_close(projected, expected)
    torch.testing.assert_close(quantizer.indices_to_latents(indices), expected)


def plain(levels: tuple[int, ...], num_slots: int = 3) -> FSQ:
    return FSQ(FSQ.Config(levels=levels, normalize="none"), num_slots)


@pytest.mark.parametrize("levels", LEVELS)
def test_codes_indices_and_gradients_agree_with_the_oracle(levels: tuple[int, ...]) -> None:
    ours, oracle = plain(levels), OracleFSQ(levels=list(levels))
    x = 3 * torch.randn(64, 3, len(levels), generator=torch.Generator().manual_seed(0))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    latents, indices, penalty = ours(a)
    assert penalty == 0
    oracle_latents, oracle_indices = oracle(b)
    weights = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    (latents * weights).sum().backward()
    (oracle_latents * weights).sum().backward()
    torch.testing.assert_close(latents, oracle_latents, rtol=0, atol=1e-6)
    assert torch.equal(indices, oracle_indices.long())
    assert a.grad.abs().max() > 0
    torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_survives_the_round_trip(levels: tuple[int, ...]) -> None:
    quantizer = plain(levels, num_slots=1)
    indices = torch.arange(quantizer.codebook_size)
    latents = quantizer.indices_to_latents(indices[:, None])
    assert len(latents.flatten(1).unique(dim=0)) == quantizer.codebook_size
    assert latents.min() >= -1 and latents.max() <= 1
    # The pre-image of a grid point under the bound: quantising it must give the same code back.
    half_width = quantizer._levels // 2
    half_length = (quantizer._levels - 1) * (1 + 1e-3) / 2
    offset = torch.where(quantizer._levels % 2 == 0, 0.5, 0.0)
    inputs = torch.atanh((latents * half_width + offset) / half_length) - torch.atanh(offset / half_length)
    again, found, _ = quantizer(inputs)
    assert torch.equal(found[:, 0], indices)
    torch.testing.assert_close(again, latents, rtol=0, atol=1e-6)


@pytest.mark.parametrize("levels", LEVELS)
def test_latents_of_a_pass_are_those_of_its_indices_and_stay_in_range(levels: tuple[int, ...]) -> None:
    quantizer = plain(levels)
    extremes = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4])
    x = extremes[:, None, None].expand(5, 3, len(levels))
    latents, indices, _ = quantizer(x)
    assert indices.min() >= 0 and indices.max() < quantizer.codebook_size
    torch.testing.assert_close(quantizer.indices_to_latents(indices), latents, rtol=0, atol=1e-6)


@pytest.mark.parametrize("levels", LEVELS)
def test_distance_is_zero_exactly_on_codes_and_null_starts_off_them(levels: tuple[int, ...]) -> None:
    quantizer = plain(levels, num_slots=1)
    for code in range(0, quantizer.codebook_size, max(1, quantizer.codebook_size // 50)):
        latents = quantizer.indices_to_latents(torch.tensor([code]))[0]
        assert quantizer.distance_to_codes(latents) == 0
        assert quantizer.distance_to_codes(latents + 1e-3) > 0
    assert quantizer.distance_to_codes(quantizer.null_init()) == pytest.approx(0.5)
    assert quantizer.distance_to_codes(torch.full((len(levels),), 5.0)) > 1


def test_normalisation_uses_the_batch_in_training_and_what_it_learned_in_evaluation() -> None:
    quantizer = FSQ(FSQ.Config(levels=(5, 5)), num_slots=2)
    x = 7 + 0.01 * torch.randn(512, 2, 2, generator=torch.Generator().manual_seed(0))
    _, indices, _ = quantizer.train()(x)
    assert len(indices.unique()) > 10, "a shifted, narrow input still spreads over the codes"
    for _ in range(300):
        quantizer(x)
    quantizer.eval()
    _, whole, _ = quantizer(x)
    _, alone, _ = quantizer(x[:1])
    assert torch.equal(whole[:1], alone), "in evaluation an example does not depend on its batch"
    assert (whole == indices).float().mean() > 0.95
    _, unnormalised, _ = plain((5, 5), num_slots=2)(x)
    assert len(unnormalised.unique()) == 1, "without it the same input collapses"


def test_low_precision_inputs_are_quantised_in_float32() -> None:
    latents, _, _ = plain((8, 5))(torch.randn(4, 3, 2).bfloat16())
    assert latents.dtype == torch.float32


@pytest.mark.parametrize("levels", [(), (2, 5), (0,), (-3, 5)])
def test_too_few_levels_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="at least three levels"):
        FSQ.Config.parse({"name": "fsq", "levels": levels})

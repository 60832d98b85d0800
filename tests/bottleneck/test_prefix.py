from typing import get_args

import pytest
import torch

from flexlam.bottleneck.fsq import FSQ
from flexlam.bottleneck.prefix import (
    PrefixSampling,
    RetainedPrefix,
    check_prefix_length,
    prefix_probabilities,
    reported_prefix_lengths,
)
from flexlam.core.errors import ConfigError

FAMILIES = get_args(PrefixSampling)
SUPPORT = {
    "uniform": set(range(9)),
    "powers-of-two": {0, 1, 2, 4, 8},
    "short": set(range(9)),
    "long": set(range(9)),
    "half-full": set(range(9)),
    "from-one": set(range(1, 9)),
    "full": {8},
}
EXPECTED = {
    "uniform": [1 / 9] * 9,
    "powers-of-two": [0.2, 0.2, 0.2, 0, 0.2, 0, 0, 0, 0.2],
    "short": [k / 45 for k in range(9, 0, -1)],
    "long": [k / 45 for k in range(1, 10)],
    "half-full": [1 / 16] * 8 + [0.5],
    "from-one": [0.0] + [1 / 8] * 8,
    "full": [0.0] * 8 + [1.0],
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_family_is_covered_here() -> None:
    assert set(SUPPORT) == set(EXPECTED) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_slots", [1, 2, 7, 8, 16])
def test_probabilities_sum_to_one(family: PrefixSampling, num_slots: int) -> None:
    probabilities = prefix_probabilities(family, num_slots)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities >= 0).all() and probabilities[num_slots] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_frequencies_follow_the_family(family: PrefixSampling) -> None:
    expected = torch.tensor(EXPECTED[family])
    torch.testing.assert_close(prefix_probabilities(family, 8), expected)
    prefix = RetainedPrefix(8, 2, family).train()
    _, k = prefix(torch.zeros(20_000, 8, 2), generator=seeded())
    counts = torch.bincount(k, minlength=9).float()
    assert set(k.tolist()) == SUPPORT[family]
    possible = expected > 0
    wanted = 20_000 * expected[possible]
    chi_square = ((counts[possible] - wanted) ** 2 / wanted).sum()
    assert chi_square < 26.1  # 0.1 % point of chi-square with 8 degrees of freedom


def test_unknown_family_is_refused() -> None:
    unchecked = prefix_probabilities.__wrapped__  # past the type checker of the tests
    with pytest.raises(ConfigError, match="powers-of-two"):
        unchecked("unifrom", 4)


def test_k_is_drawn_for_each_example_and_follows_the_generator() -> None:
    prefix = RetainedPrefix(8, 2).train()
    latents = torch.zeros(64, 8, 2)
    _, first = prefix(latents, generator=seeded(1))
    _, again = prefix(latents, generator=seeded(1))
    _, other = prefix(latents, generator=seeded(2))
    assert len(first.unique()) > 3
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_slots_beyond_k_are_exactly_the_null_latent(batch: tuple[int, ...]) -> None:
    prefix = RetainedPrefix(6, 3).train()
    latents = torch.randn(*batch, 6, 3, generator=seeded())
    filled, k = prefix(latents, generator=seeded())
    assert filled.shape == latents.shape and k.shape == batch
    flat, flat_filled = latents.reshape(-1, 6, 3), filled.reshape(-1, 6, 3)
    for example, (length, got) in enumerate(zip(k.reshape(-1).tolist(), flat_filled, strict=True)):
        assert torch.equal(got[:length], flat[example, :length])
        assert torch.equal(got[length:], prefix.null_latent.expand(6 - length, 3))


@pytest.mark.parametrize("k", range(5))
def test_gradients_reach_kept_slots_and_the_null_latent_only(k: int) -> None:
    prefix = RetainedPrefix(4, 3)
    latents = torch.randn(2, 4, 3, requires_grad=True)
    prefix(latents, k)[0].sum().backward()
    assert torch.equal(latents.grad[:, :k], torch.ones(2, k, 3))
    assert torch.equal(latents.grad[:, k:], torch.zeros(2, 4 - k, 3))
    assert torch.equal(prefix.null_latent.grad, torch.full((3,), 2.0 * (4 - k)))


def test_evaluation_keeps_everything_unless_told() -> None:
    prefix = RetainedPrefix(4, 3).eval()
    latents = torch.randn(2, 4, 3)
    filled, k = prefix(latents)
    assert torch.equal(filled, latents) and k.tolist() == [4, 4]
    _, k = prefix(latents, torch.tensor([0, 3]))
    assert k.tolist() == [0, 3]


@pytest.mark.parametrize("k", [-1, 5, torch.tensor([0, 5]), torch.tensor([-1, 2])])
def test_k_outside_the_slots_is_refused(k: int | torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="give 0 to 4"):
        RetainedPrefix(4, 3)(torch.zeros(2, 4, 3), k)


def test_check_prefix_length_accepts_both_ends() -> None:
    check_prefix_length(0, 4)
    check_prefix_length(4, 4)
    with pytest.raises(ConfigError, match="prefix_length is 5"):
        check_prefix_length(5, 4)


def test_the_learned_null_latent_coincides_with_no_code() -> None:
    """A few steps of a toy: reconstruct a vector from randomly shortened codes."""
    torch.manual_seed(0)
    quantizer = FSQ(FSQ.Config(levels=(5, 5)), num_slots=4)
    prefix = RetainedPrefix(4, 2, null_init=quantizer.null_init())
    encoder, decoder = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    modules = torch.nn.ModuleList([quantizer, prefix, encoder, decoder]).train()
    optimizer = torch.optim.Adam(modules.parameters(), lr=0.01)
    generator, before = seeded(), prefix.null_latent.detach().clone()
    for _ in range(100):
        x = torch.randn(64, 8, generator=generator)
        latents, _, _ = quantizer(encoder(x).view(64, 4, 2))
        filled, _ = prefix(latents, generator=generator)
        loss = (decoder(filled.flatten(1)) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not torch.equal(prefix.null_latent, before), "it has been trained"
    assert quantizer.distance_to_codes(prefix.null_latent) > 1e-3


@pytest.mark.parametrize(
    ("num_slots", "expected"),
    [(1, (0, 1)), (2, (0, 1, 2)), (6, (0, 1, 2, 4, 6)), (8, (0, 1, 2, 4, 8)), (16, (0, 1, 2, 4, 8, 16))],
)
def test_reported_prefix_lengths(num_slots: int, expected: tuple[int, ...]) -> None:
    assert reported_prefix_lengths(num_slots) == expected

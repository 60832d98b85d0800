import pytest
import torch

from flexlam.bottleneck.continuous import Continuous
from flexlam.core.errors import ConfigError


def test_projection_leaves_latents_as_they_are_inside_their_range() -> None:
    quantizer = Continuous(Continuous.Config(dim=2, resolution=4), 1)
    latents = torch.tensor([[[0.3, -0.9]], [[1.7, 0.0]]])
    projected, indices = quantizer.project(latents)
    assert torch.equal(projected, torch.tensor([[[0.3, -0.9]], [[1.0, 0.0]]]))
    assert (quantizer.indices_to_latents(indices) - projected).abs().max() <= 0.25


def plain(num_slots: int = 2, **settings: object) -> Continuous:
    return Continuous(Continuous.Config.parse({"name": "continuous", "normalize": "none", **settings}), num_slots)


def inputs(batch: int = 512) -> torch.Tensor:
    return torch.randn(batch, 2, 4, generator=torch.Generator().manual_seed(0))


def test_nothing_is_rounded() -> None:
    latents, _, penalty = plain().eval()(inputs())
    torch.testing.assert_close(latents, torch.tanh(inputs()))
    assert penalty == 0 and len(latents.unique()) > 4000


def test_indices_name_the_cell_and_its_middle_is_within_half_a_cell() -> None:
    quantizer = plain(resolution=5).eval()
    latents, indices, _ = quantizer(3 * inputs())
    middles = quantizer.indices_to_latents(indices)
    assert (latents - middles).abs().max() <= quantizer.step / 2 + 1e-6
    assert indices.min() >= 0 and indices.max() < quantizer.codebook_size == 5**4
    every = torch.arange(quantizer.codebook_size)
    assert len(quantizer.indices_to_latents(every[:, None]).flatten(1).unique(dim=0)) == quantizer.codebook_size
    assert torch.equal(quantizer._cells(quantizer.indices_to_latents(every[:, None]))[:, 0], every)


def test_noise_in_training_fills_one_cell_comes_from_the_generator_and_lets_gradients_pass() -> None:
    quantizer, x = plain(resolution=5).train(), inputs().requires_grad_()
    noisy, indices, _ = quantizer(x, torch.Generator().manual_seed(1))
    noise = noisy.detach() - torch.tanh(inputs())
    assert 0.19 < noise.max() <= 0.2 and -0.2 <= noise.min() < -0.19 and noise.mean().abs() < 0.01
    again, _, _ = quantizer(x, torch.Generator().manual_seed(1))
    assert torch.equal(noisy, again)
    assert torch.equal(indices, quantizer.eval()(x)[1]), "indices are those without noise"
    noisy.sum().backward()
    torch.testing.assert_close(x.grad, 1 - torch.tanh(inputs()) ** 2)
    quiet, _, _ = plain(noise=False).train()(inputs())
    torch.testing.assert_close(quiet, torch.tanh(inputs()))


def test_the_null_latent_starts_where_no_slot_can_come() -> None:
    quantizer = plain()
    noisy, _, _ = quantizer.train()(100 * inputs(), torch.Generator().manual_seed(0))
    assert noisy.abs().max() < quantizer.null_init().min()
    assert quantizer.distance_to_codes(quantizer.null_init()) == pytest.approx(0.5)
    assert quantizer.distance_to_codes(torch.zeros(4)) == 0


def test_cells_beyond_whole_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="more slots and fewer coordinates"):
        Continuous.Config.parse({"name": "continuous", "dim": 32, "resolution": 8})

import pytest
import torch
from vector_quantize_pytorch import VectorQuantize

from flexlam.bottleneck.vq import VQ
from flexlam.core.errors import ConfigError


def test_projection_takes_the_nearest_entry() -> None:
    quantizer = VQ(VQ.Config(codebook_size=7, dim=3), 2)
    latents = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    projected, indices = quantizer.project(latents)
    distances = (latents[:, :, None] - quantizer.codebook).square().sum(-1)
    assert torch.equal(indices, distances.argmin(-1)) and torch.equal(projected, quantizer.codebook[indices])


def plain(**settings: object) -> VQ:
    return VQ(
        VQ.Config.parse({"name": "vq", "codebook_size": 8, "dim": 3, "normalize": "none", **settings}), num_slots=2
    )


def inputs(seed: int, batch: int = 64) -> torch.Tensor:
    return torch.randn(batch, 2, 3, generator=torch.Generator().manual_seed(seed))


def test_codes_gradients_loss_and_the_moved_codebook_agree_with_the_oracle() -> None:
    ours = plain(decay=0.8, min_usage=0.0).train()
    oracle = VectorQuantize(
        dim=3, codebook_size=8, decay=0.8, commitment_weight=0.25, threshold_ema_dead_code=0, rotation_trick=False
    )
    state = oracle._codebook
    state.embed.copy_(ours.codebook[None])
    state.embed_avg.copy_(ours._sums[None])
    state.cluster_size.copy_(ours._counts[None])
    oracle.train()
    for step in range(5):
        a, b = inputs(step).requires_grad_(), inputs(step).requires_grad_()
        latents, indices, loss = ours(a)
        oracle_latents, oracle_indices, oracle_loss = oracle(b)
        weights = torch.randn(latents.shape, generator=torch.Generator().manual_seed(100 + step))
        ((latents * weights).sum() + loss).backward()
        ((oracle_latents * weights).sum() + oracle_loss.sum()).backward()
        assert torch.equal(indices, oracle_indices)
        # It smooths counts by some hundred-thousandths, which we do not.
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(latents, oracle_latents, **close)
        torch.testing.assert_close(loss, oracle_loss.sum(), **close)
        torch.testing.assert_close(a.grad, b.grad, **close)
        torch.testing.assert_close(ours.codebook, state.embed[0], **close)


def test_an_input_becomes_the_nearest_code() -> None:
    quantizer, x = plain().eval(), inputs(0)
    latents, indices, _ = quantizer(x)
    distances = (x[:, :, None] - quantizer.codebook).square().sum(-1)
    assert torch.equal(indices, distances.argmin(-1))
    torch.testing.assert_close(latents, quantizer.codebook[indices])


def test_evaluation_moves_nothing_and_training_does() -> None:
    quantizer = plain()
    before = quantizer.codebook.clone()
    quantizer.eval()(inputs(0))
    assert torch.equal(quantizer.codebook, before)
    quantizer.train()(inputs(0))
    assert not torch.equal(quantizer.codebook, before)


@pytest.mark.parametrize(("min_usage", "num_used"), [(0.01, 8), (0.0, 1)])
def test_codes_that_nothing_is_near_to_come_into_use_if_they_may(min_usage: float, num_used: int) -> None:
    quantizer = plain(min_usage=min_usage, decay=0.9).train()
    quantizer.codebook[1:] += 100.0  # all but one out of reach
    quantizer._sums[1:] += 100.0
    for step in range(100):
        quantizer(inputs(step))
    _, indices, _ = quantizer.eval()(inputs(0, batch=1000))
    assert len(indices.unique()) == num_used


def test_normalisation_meets_shifted_inputs() -> None:
    quantizer = VQ(VQ.Config(codebook_size=16, dim=3), num_slots=2).train()
    for step in range(50):
        _, indices, _ = quantizer(50 + 0.01 * inputs(step))
    assert len(indices.unique()) > 8


def test_a_batch_smaller_than_the_codebook_and_an_empty_one() -> None:
    quantizer = plain().train()
    for step in range(100):
        quantizer(inputs(step, batch=2))
    assert quantizer.codebook.isfinite().all()
    latents, indices, loss = quantizer.eval()(inputs(0, batch=0))
    assert latents.shape == (0, 2, 3) and indices.shape == (0, 2) and loss == 0


@pytest.mark.parametrize("bad", [{"codebook_size": 1}, {"decay": 1.0}, {"commitment": -1.0}, {"dim": 0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        VQ.Config.parse({"name": "vq", **bad})

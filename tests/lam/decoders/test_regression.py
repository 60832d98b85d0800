import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.lam.decoders.regression import RegressionDecoder

SMALL = {"patch_size": 4, "dim": 16, "depth": 1, "num_heads": 2}


def build(**changes: int) -> RegressionDecoder:
    torch.manual_seed(0)
    return RegressionDecoder(RegressionDecoder.Config(**{**SMALL, **changes}), (8, 12, 3), 3, 5)


def test_it_copies_the_frame_at_initialisation() -> None:
    obs, latents = torch.rand(2, 3, 8, 12), torch.randn(2, 3, 5)
    assert torch.equal(build().predict(obs, latents), obs)


def test_it_learns_what_only_the_latents_tell() -> None:
    """Brightness of the next frame is given by the first latent; the frame itself says nothing."""
    decoder, generator = build(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    losses = []
    for _ in range(150):
        latents = torch.rand(32, 3, 5, generator=generator) * 2 - 1
        next_obs = latents[:, 0, 0].view(-1, 1, 1, 1).expand(32, 3, 8, 12)
        loss = decoder.loss(torch.zeros(32, 3, 8, 12), next_obs, latents)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.1 * sum(losses[:10])


def test_a_sample_is_the_mean() -> None:
    obs, latents = torch.rand(2, 3, 8, 12), torch.randn(2, 3, 5)
    decoder = build()
    torch.nn.init.normal_(decoder.trunk.head.weight)
    assert torch.equal(decoder.sample(obs, latents, num_steps=5), decoder.predict(obs, latents))


@pytest.mark.parametrize("change", [{"patch_size": 5}, {"num_heads": 3}])
def test_sizes_that_do_not_go_together_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match="does not divide"):
        build(**change)

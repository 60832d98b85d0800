"""Cloning in latent space: a mean that does not depend on k, chance or steps."""

import torch

from flexlam.policy.regression import RegressionPolicy
from small_spaces import frame_policy


def test_the_mean_is_the_same_for_every_k_and_draw() -> None:
    policy = frame_policy(RegressionPolicy)
    assert not policy.draws and policy.nested
    seen = policy.features(torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    points = torch.randn(2, 4, 3, 2, generator=torch.Generator().manual_seed(1))
    whole = policy.generate(seen, points, 3, 3)
    assert whole.shape == (2, 4, 3, 2) and torch.equal(whole[:, :1].expand(-1, 4, -1, -1), whole)
    assert torch.equal(policy.generate(seen, -points, 2, 1), whole[:, :, :2])
    assert not torch.allclose(whole[0], whole[1])


def test_the_loss_is_the_squared_error_of_normalised_coordinates() -> None:
    policy = frame_policy(RegressionPolicy)
    policy.set_statistics(torch.full((3, 2), -1.0), torch.full((3, 2), 3.0), torch.full((3, 2), 2.0))
    images = torch.rand(5, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    latents = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(1))
    mean = policy.generate(policy.features(images), latents[:, None], 3, 1)[:, 0]
    loss = policy.loss(images, latents, torch.Generator())
    torch.testing.assert_close(loss, ((mean - latents) / 2).square().mean())

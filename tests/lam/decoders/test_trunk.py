import torch

from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.decoders.trunk import DecoderTrunk


def build() -> DecoderTrunk:
    torch.manual_seed(0)
    config = RegressionDecoder.Config(patch_size=4, dim=16, depth=2, num_heads=2)
    trunk = DecoderTrunk(config, in_channels=6, out_channels=3, frame_size=(8, 12), latents_dim=15)
    for layer in (trunk.modulation, trunk.head):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return trunk


def test_every_slot_can_reach_every_pixel() -> None:
    trunk, images = build(), torch.randn(2, 6, 8, 12)
    latents = torch.randn(2, 3, 5, requires_grad=True)
    out = trunk(images, latents)
    assert out.shape == (2, 3, 8, 12)
    (corner,) = torch.autograd.grad(out[0, 0, 0, 0], latents)
    assert (corner[0].abs().sum(-1) > 0).all()
    assert not corner[1].any(), "examples are independent"


def test_the_extra_condition_counts() -> None:
    trunk, images, latents = build(), torch.randn(2, 6, 8, 12), torch.randn(2, 3, 5)
    assert not torch.allclose(trunk(images, latents), trunk(images, latents, torch.randn(2, 16)))
    torch.testing.assert_close(trunk(images, latents), trunk(images, latents, torch.zeros(2, 16)))

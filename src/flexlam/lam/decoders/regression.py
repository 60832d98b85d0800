"""One-shot regression decoder: one forward pass, squared error. The fast choice on CPU."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.lam.decoders.trunk import DecoderTrunk, TrunkConfig
from flexlam.nn.patches import check_patch_size


class RegressionDecoder(nn.Module):
    """Predicts the change from o_t to o_{t+1}; at initialisation it copies o_t."""

    draws = False

    class Config(TrunkConfig):
        """Settings of the regression decoder."""

        name: Literal["regression"] = "regression"

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], num_slots: int, slot_dim: int) -> None:
        super().__init__()
        check_patch_size(config.patch_size, frame_shape)
        height, width, channels = frame_shape
        self.trunk = DecoderTrunk(config, channels, channels, (height, width), num_slots * slot_dim)

    def loss(
        self,
        obs: Float[Tensor, "B C H W"],
        next_obs: Float[Tensor, "B C H W"],
        latents: Float[Tensor, "B K D"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error per pixel, images in [−1, 1]; draws nothing."""
        return nn.functional.mse_loss(self.predict(obs, latents), next_obs)

    def predict(self, obs: Float[Tensor, "B C H W"], latents: Float[Tensor, "B K D"]) -> Float[Tensor, "B C H W"]:
        """The mean next frame."""
        return obs + self.trunk(obs, latents)

    def sample(
        self,
        obs: Float[Tensor, "B C H W"],
        latents: Float[Tensor, "B K D"],
        num_steps: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """The mean again: a regression has nothing to draw."""
        return self.predict(obs, latents)

"""What every decoder offers."""

from typing import ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core.config import ComponentConfig


class DecoderConfig(ComponentConfig):
    """Settings of a decoder, built as `Decoder(config, frame_shape, num_slots, slot_dim)`."""

    kind: ClassVar[str] = "decoder"


class Decoder(Protocol):
    """Predicts the next frame from a frame and null-filled latents; images are in [−1, 1]."""

    draws: bool
    """Whether `sample` draws anything, or only repeats the mean."""

    def loss(
        self,
        obs: Float[Tensor, "B C H W"],
        next_obs: Float[Tensor, "B C H W"],
        latents: Float[Tensor, "B K D"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Training objective, averaged over the batch."""

    def predict(self, obs: Float[Tensor, "B C H W"], latents: Float[Tensor, "B K D"]) -> Float[Tensor, "B C H W"]:
        """The mean next frame: the best guess in squared error, deterministic."""

    def sample(
        self,
        obs: Float[Tensor, "B C H W"],
        latents: Float[Tensor, "B K D"],
        num_steps: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """A draw from the distribution of next frames, sharper and further off in squared error than the mean."""

"""Behaviour cloning in latent space (LAPO, LAOM): the mean latent action given the frames.

Where several latent actions fit what is seen, the mean may be none of them (LAFP §3).
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.policy.frames import FramePolicy, FramePolicyConfig, LatentSpace


class RegressionPolicy(FramePolicy):
    """A three-layer MLP behind the frames' features, trained by squared error.

    The mean of a slot is the same, whichever slots are asked for with it, so one network serves every k.
    """

    kind: ClassVar[str] = "regression-policy"
    draws: ClassVar[bool] = False
    nested: ClassVar[bool] = True

    class Config(FramePolicyConfig):
        """Settings of a regression policy."""

        name: Literal["regression"] = "regression"

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], space: LatentSpace) -> None:
        super().__init__(config, frame_shape, space)
        hidden = config.hidden_dim
        self.network = nn.Sequential(
            nn.Linear(self.trunk.out_dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, space.num_slots * space.latent_dim),
        )

    def loss(
        self,
        images: Float[Tensor, "B n C H W"],
        latents: Float[Tensor, "B K D"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Squared error a normalised coordinate."""
        return (self._mean(self.features(images)) - self.normalize(latents)).square().mean()

    def generate(
        self,
        features: Float[Tensor, "B F"],
        points: Float[Tensor, "B S K D"],
        prefix_length: int,
        num_steps: int,
        time: float = 0.0,
    ) -> Float[Tensor, "B S k D"]:
        """The first k slots of the mean, S times: points, steps and time are a flow's."""
        mean = self._mean(features) * self.scale + self.centre
        return mean[:, None, :prefix_length].expand(-1, points.shape[1], -1, -1)

    def _mean(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B K D"]:
        return self.network(features).float().view(len(features), *self.centre.shape)

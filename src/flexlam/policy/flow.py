"""LAFP: conditional flow matching over latent actions (2606.10517), one network for every prefix length.

Between noise z_0 ~ N(0, I) and a latent z lie straight paths z_τ = τ z + (1 − τ) z_0. The network is given z_τ, τ, what
is seen on the frames, and which slots are asked for: those beyond k are zero in its input and have no part in the loss,
so that for every k it is the flow of the first k slots alone.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from flexlam.bottleneck.prefix import prefix_probabilities
from flexlam.nn.rectified_flow import TIME_DIM, euler_sample, interpolate, time_features
from flexlam.policy.frames import FramePolicy, FramePolicyConfig, LatentSpace


class FlowPolicy(FramePolicy):
    """A three-layer MLP behind the frames' features, trained by flow matching."""

    kind: ClassVar[str] = "flow-policy"
    draws: ClassVar[bool] = True
    nested: ClassVar[bool] = False

    class Config(FramePolicyConfig):
        """Settings of a flow policy."""

        name: Literal["flow"] = "flow"
        target: Literal["latent", "vector"] = "latent"
        """What the network predicts: the latent z (the paper's choice), or the vector z − z_0."""

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], space: LatentSpace) -> None:
        super().__init__(config, frame_shape, space)
        size, hidden = space.num_slots * space.latent_dim, config.hidden_dim
        self.seen = nn.Sequential(nn.Linear(self.trunk.out_dim, hidden), nn.GELU())
        self.network = nn.Sequential(
            nn.Linear(size + space.num_slots + TIME_DIM + hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, size),
        )

    def features(self, images: Float[Tensor, "B n C H W"]) -> Float[Tensor, "B F"]:
        """What is seen on frames: computed once for all draws and steps of a decision."""
        return self.seen(super().features(images))

    def loss(
        self,
        images: Float[Tensor, "B n C H W"],
        latents: Float[Tensor, "B K D"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Squared error of the target a coordinate, over the slots asked for, at τ ~ U(0, 1) and k ~ p(k | k ≥ 1)."""
        keep = self._keep(self._prefix_lengths(len(latents), generator).to(latents.device))
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        times = (1 - torch.rand(len(latents), generator=generator)).to(latents.device)  # s = 1 − τ in (0, 1]
        data = self.normalize(latents)
        predicted = self._predict(self.features(images), interpolate(data, noise, times), times, keep)
        wanted = data if self.config.target == "latent" else data - noise
        errors = (predicted - wanted).square().mean(-1) * keep
        return errors.sum() / keep.sum()

    def generate(
        self,
        features: Float[Tensor, "B F"],
        points: Float[Tensor, "B S K D"],
        prefix_length: int,
        num_steps: int,
        time: float = 0.0,
    ) -> Float[Tensor, "B S k D"]:
        """The first k slots, by Euler steps from normalised points of a time τ; of a model of whole codes all K slots
        are generated and the first k kept."""
        if not prefix_length:
            return points[:, :, :0]
        asked = self.num_slots if self.space.fixed else prefix_length
        seen = features[:, None].expand(-1, points.shape[1], -1).flatten(0, 1)
        keep = self._keep(torch.full((len(seen),), asked, device=seen.device))

        def data(x: Tensor, s: Tensor) -> Tensor:
            predicted = self._predict(seen, x, s, keep)
            return predicted if self.config.target == "latent" else x + s[:, None, None] * predicted

        ended = euler_sample(data, points.flatten(0, 1), num_steps, start=1 - time)
        return (ended * self.scale + self.centre).unflatten(0, points.shape[:2])[:, :, :prefix_length]

    def _predict(
        self,
        seen: Float[Tensor, "B F"],
        points: Float[Tensor, "B K D"],
        times: Float[Tensor, "B"],
        keep: Bool[Tensor, "B K"],
    ) -> Float[Tensor, "B K D"]:
        """The target of the slots asked for; what stands in the others means nothing, and is not read."""
        asked = torch.where(keep[..., None], points, 0.0).flatten(1)
        return self.network(torch.cat([asked, keep.float(), time_features(times), seen], -1)).float().view(points.shape)

    def _keep(self, prefix_length: Int[Tensor, "B"]) -> Bool[Tensor, "B K"]:
        """Which slots are asked for: this tells the network k."""
        return torch.arange(self.num_slots, device=prefix_length.device) < prefix_length[:, None]

    def _prefix_lengths(self, count: int, generator: torch.Generator) -> Int[Tensor, "B"]:
        """k of each example, from p(k) of the latent action model without k = 0, where there is nothing to predict."""
        probabilities = prefix_probabilities(self.space.prefix_sampling, self.num_slots)[1:]
        return 1 + torch.multinomial(probabilities, count, replacement=True, generator=generator)

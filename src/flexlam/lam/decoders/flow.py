"""Rectified-flow DiT decoder, o_t by channel concatenation (FlexLAM §4.1, App. A.5; sizes in docs/fidelity.md)."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.lam.decoders.trunk import DecoderTrunk, TrunkConfig
from flexlam.nn.patches import check_patch_size
from flexlam.nn.rectified_flow import TIME_DIM, euler_sample, interpolate, sample_times, time_features


class FlowDecoder(nn.Module):
    """Denoises o_{t+1} given o_t and the latents; predicts the clean frame at every noise level."""

    draws = True

    class Config(TrunkConfig):
        """Settings of the rectified-flow decoder."""

        name: Literal["flow"] = "flow"
        pure_noise_share: float = Field(default=0.5, ge=0, le=1)
        """Share of training examples at s = 1; at 0 the decoder tends to ignore the latent action."""
        time_mean: float = -0.5
        """Mean of the logit-normal times of the other examples."""
        time_std: float = Field(default=1.0, ge=0)
        """Standard deviation of the logit-normal times."""

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], num_slots: int, slot_dim: int) -> None:
        super().__init__()
        check_patch_size(config.patch_size, frame_shape)
        height, width, channels = frame_shape
        self.config = config
        self.trunk = DecoderTrunk(config, 2 * channels, channels, (height, width), num_slots * slot_dim)
        self.time = nn.Sequential(nn.Linear(TIME_DIM, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim))

    def loss(
        self,
        obs: Float[Tensor, "B C H W"],
        next_obs: Float[Tensor, "B C H W"],
        latents: Float[Tensor, "B K D"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the predicted clean frame at a random time of each example."""
        c = self.config
        times = sample_times(len(obs), c.pure_noise_share, c.time_mean, c.time_std, generator).to(obs.device)
        noise = _noise_like(next_obs, generator)
        predicted = self._denoise(obs, latents, interpolate(next_obs, noise, times), times)
        return nn.functional.mse_loss(predicted, next_obs)

    def predict(self, obs: Float[Tensor, "B C H W"], latents: Float[Tensor, "B K D"]) -> Float[Tensor, "B C H W"]:
        """The one-step prediction from one fixed draw of pure noise: deterministic, close to the mean."""
        # The same noise for every example: what one frame is predicted to be must not hang on its batch.
        noise = torch.randn(1, *obs.shape[1:], generator=torch.Generator().manual_seed(0)).to(obs.device)
        return euler_sample(lambda x, s: self._denoise(obs, latents, x, s), noise.expand(obs.shape), 1)

    def sample(
        self,
        obs: Float[Tensor, "B C H W"],
        latents: Float[Tensor, "B K D"],
        num_steps: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """Integrate the flow from noise in `num_steps` Euler steps."""
        noise = _noise_like(obs, generator)
        return euler_sample(lambda x, s: self._denoise(obs, latents, x, s), noise, num_steps)

    def _denoise(self, obs: Tensor, latents: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
        """Predicted clean frame: o_t plus what the trunk adds."""
        return obs + self.trunk(torch.cat([noisy, obs], dim=1), latents, self.time(time_features(times)))


def _noise_like(images: Tensor, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else images.device
    return torch.randn(images.shape, generator=generator, device=device).to(images.device)

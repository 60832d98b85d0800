"""A continuous bottleneck: bounded coordinates under uniform noise, which limits how much they can say."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from flexlam.bottleneck.base import QuantizerConfig

_MOST_CELLS = 1 << 62


class Continuous(nn.Module):
    """Coordinates in [−1, 1], not rounded; in training uniform noise as wide as a grid step is added.

    Noise of a step's width lets a coordinate tell about `resolution` values apart, as rounding would, without its
    gradient's falsehood (universal quantization, Ziv 1985). What is encoded is not rounded. Where integers are
    needed, indices name the grid cell that a slot lies in.
    """

    class Config(QuantizerConfig):
        """Settings of the continuous bottleneck."""

        name: Literal["continuous"] = "continuous"
        dim: int = Field(default=4, ge=1)
        """Width of a slot."""
        resolution: int = Field(default=8, ge=3)
        """Grid cells of a coordinate: the noise in training is one cell wide, and indices count cells."""
        noise: bool = True
        """Whether noise is added in training; without it nothing limits what a slot can say."""
        normalize: Literal["batch", "none"] = "batch"
        """Standardise each coordinate of each slot over the batch first, which keeps slots from collapsing."""

        @model_validator(mode="after")
        def _cells_can_be_counted(self) -> "Continuous.Config":
            if self.resolution**self.dim > _MOST_CELLS:
                raise ValueError(
                    f"{self.resolution} cells in each of {self.dim} coordinates are too many for whole numbers; "
                    "take more slots and fewer coordinates"
                )
            return self

    def __init__(self, config: Config, num_slots: int) -> None:
        super().__init__()
        self.config = config
        self.latent_dim, self.resolution = config.dim, config.resolution
        self.codebook_size, self.step = config.resolution**config.dim, 2 / config.resolution
        self.norm = (
            nn.BatchNorm1d(num_slots * config.dim, affine=False) if config.normalize == "batch" else nn.Identity()
        )

    def forward(
        self, x: Float[Tensor, "B K D"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B K D"], Int[Tensor, "B K"], Float[Tensor, ""]]:
        """Latents, the grid cells that they lie in, and no penalty."""
        x = self.norm(x.float().flatten(1)).view(x.shape)
        latents = torch.tanh(x)
        cells = self._cells(latents.detach())
        if self.training and self.config.noise:
            device = latents.device if generator is None else generator.device
            noise = torch.rand(latents.shape, generator=generator, device=device).to(latents.device)
            latents = latents + (2 * noise - 1) / self.resolution
        return latents, cells, x.new_zeros(())

    def indices_to_latents(self, indices: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch K D"]:
        """The middle of grid cells."""
        places = (indices[..., None] // self._basis(indices.device)) % self.resolution
        return (2 * places + 1) / self.resolution - 1

    def project(
        self, latents: Float[Tensor, "*batch K D"]
    ) -> tuple[Float[Tensor, "*batch K D"], Int[Tensor, "*batch K"]]:
        """Latents as they are, held to [−1, 1], and the grid cells that they lie in."""
        bounded = latents.clamp(-1, 1)
        return bounded, self._cells(bounded)

    def hold(self, latents: Float[Tensor, "*batch K D"]) -> Float[Tensor, "*batch K D"]:
        """Latents held to the range of valid ones, coordinate by coordinate; gradients end at its edge."""
        return latents.clamp(-1, 1)

    def null_init(self) -> Float[Tensor, "D"]:
        """Outside of what any slot can become, and of what noise makes of it."""
        return torch.full((self.latent_dim,), 1.5)

    def distance_to_codes(self, vector: Float[Tensor, "D"]) -> float:
        """Largest-coordinate distance from a vector to the nearest one that a slot can become; 0 means it is one."""
        return float((vector.detach().abs() - 1).clamp_min(0).max())

    def _cells(self, latents: Float[Tensor, "*batch K D"]) -> Int[Tensor, "*batch K"]:
        places = ((latents + 1) / 2 * self.resolution).long().clamp(0, self.resolution - 1)
        return (places * self._basis(latents.device)).sum(-1)

    def _basis(self, device: torch.device) -> Int[Tensor, "D"]:
        return self.resolution ** torch.arange(self.latent_dim, device=device)

"""Finite scalar quantization: round each coordinate to a few levels (Mentzer et al. 2024)."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import field_validator
from torch import Tensor, nn

from flexlam.bottleneck.base import QuantizerConfig


class FSQ(nn.Module):
    """Bound, round, and pass the gradient straight through.

    Coordinates lie on a grid in [−1, 1]; an even number of levels has one more below zero than above.
    """

    class Config(QuantizerConfig):
        """Settings of finite scalar quantization."""

        name: Literal["fsq"] = "fsq"
        levels: tuple[int, ...] = (8, 5, 5, 5)
        """Number of levels of each coordinate; their product is the codebook size."""
        normalize: Literal["batch", "none"] = "batch"
        """Standardise each coordinate of each slot over the batch first, which keeps slots from collapsing."""

        @field_validator("levels")
        @classmethod
        def _at_least_three(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
            # With two levels the bound saturates: the threshold lies 3.8 away from zero, and gradients vanish there.
            if not levels or min(levels) < 3:
                raise ValueError("give at least one coordinate, and at least three levels in each")
            return levels

    _levels: Tensor
    _basis: Tensor

    def __init__(self, config: Config, num_slots: int) -> None:
        super().__init__()
        self.latent_dim = len(config.levels)
        levels = torch.tensor(config.levels)
        self.codebook_size, self.step = int(levels.prod()), 0.0
        self.norm = (
            nn.BatchNorm1d(num_slots * self.latent_dim, affine=False) if config.normalize == "batch" else nn.Identity()
        )
        self.register_buffer("_levels", levels, persistent=False)
        self.register_buffer("_basis", torch.cumprod(levels, 0) // levels, persistent=False)

    def forward(
        self, x: Float[Tensor, "B K D"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B K D"], Int[Tensor, "B K"], Float[Tensor, ""]]:
        """Quantised latents, code indices, and no penalty."""
        x = self.norm(x.float().flatten(1)).view(x.shape)
        bounded = self._bound(x)
        rounded = bounded + (bounded.round() - bounded).detach()
        half_width = self._levels // 2
        indices = ((rounded.detach().round().long() + half_width) * self._basis).sum(-1)
        return rounded / half_width, indices, x.new_zeros(())

    def indices_to_latents(self, indices: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch K D"]:
        """Grid coordinates of codes."""
        half_width = self._levels // 2
        return ((indices[..., None] // self._basis) % self._levels - half_width) / half_width

    def project(
        self, latents: Float[Tensor, "*batch K D"]
    ) -> tuple[Float[Tensor, "*batch K D"], Int[Tensor, "*batch K"]]:
        """Every coordinate rounded to the nearest of its levels, and the codes that these are."""
        half_width = self._levels // 2
        steps = self._nearest_steps(latents * half_width)
        return steps / half_width, ((steps.long() + half_width) * self._basis).sum(-1)

    def hold(self, latents: Float[Tensor, "*batch K D"]) -> Float[Tensor, "*batch K D"]:
        """Latents held to the range of valid ones, coordinate by coordinate; gradients end at its edge."""
        half_width = self._levels // 2
        return latents.clamp_min(-1).minimum((self._levels - 1 - half_width) / half_width)

    def null_init(self) -> Float[Tensor, "D"]:
        """The centre of a grid cell next to the origin: as far from every code as the inside of the grid allows."""
        return 0.5 / (self._levels // 2)

    def distance_to_codes(self, vector: Float[Tensor, "D"]) -> float:
        """Largest-coordinate distance from a vector to the nearest code, in grid steps; 0 means it is one."""
        steps = vector.detach() * (self._levels // 2)
        return float((steps - self._nearest_steps(steps)).abs().max())

    def _nearest_steps(self, steps: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Whole steps from the middle of the grid, as far as it goes."""
        half_width = self._levels // 2
        return torch.minimum(torch.maximum(steps.round(), -half_width), self._levels - 1 - half_width)

    def _bound(self, x: Tensor) -> Tensor:
        """Squash so that rounding gives exactly the wanted number of levels."""
        half_length = (self._levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self._levels % 2 == 0, 0.5, 0.0)
        shift = torch.atanh(offset / half_length)
        return torch.tanh(x + shift) * half_length - offset

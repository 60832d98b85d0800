"""What every quantizer offers."""

from typing import ClassVar, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from flexlam.core.config import ComponentConfig


class QuantizerConfig(ComponentConfig):
    """Settings of a quantizer."""

    kind: ClassVar[str] = "quantizer"


class Quantizer(Protocol):
    """Maps each slot to one of a finite set of vectors, or to a bounded one that a whole number stands for roughly."""

    latent_dim: int
    """D, width of a slot."""
    codebook_size: int
    """|C|, number of codes a slot can take."""
    step: float
    """Width of the grid cells that indices stand for; 0 where they say exactly which latent it is."""

    def __call__(
        self, x: Float[Tensor, "B K D"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B K D"], Int[Tensor, "B K"], Float[Tensor, ""]]:
        """Latents (gradients pass through), code indices, and what the training loss has to add for the bottleneck."""

    def indices_to_latents(self, indices: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch K D"]:
        """The vectors that codes stand for."""

    def project(
        self, latents: Float[Tensor, "*batch K D"]
    ) -> tuple[Float[Tensor, "*batch K D"], Int[Tensor, "*batch K"]]:
        """The nearest vectors that slots can hold, and their indices: for latents that a policy made up."""

    def hold(self, latents: Float[Tensor, "*batch K D"]) -> Float[Tensor, "*batch K D"]:
        """Latents held to the range of valid ones, coordinate by coordinate; gradients end at its edge."""

    def null_init(self) -> Float[Tensor, "D"]:
        """A starting point for the null latent that is no code."""

    def distance_to_codes(self, vector: Float[Tensor, "D"]) -> float:
        """Largest-coordinate distance from a vector to the nearest code; 0 means it is one."""

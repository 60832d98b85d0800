"""What every quantizer offers."""

from typing import ClassVar, Protocol

from jaxtyping import Float, Int
from torch import Tensor

from flexlam.core.config import ComponentConfig


class QuantizerConfig(ComponentConfig):
    """Settings of a quantizer."""

    kind: ClassVar[str] = "quantizer"


class Quantizer(Protocol):
    """Maps each slot to one of a finite set of vectors."""

    latent_dim: int
    """D, width of a slot."""
    codebook_size: int
    """|C|, number of codes a slot can take."""

    def __call__(self, x: Float[Tensor, "B K D"]) -> tuple[Float[Tensor, "B K D"], Int[Tensor, "B K"]]:
        """Quantised latents (gradients pass through) and code indices."""

    def indices_to_latents(self, indices: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch K D"]:
        """The vectors that codes stand for."""

    def null_init(self) -> Float[Tensor, "D"]:
        """A starting point for the null latent that is no code."""

    def distance_to_codes(self, vector: Float[Tensor, "D"]) -> float:
        """Largest-coordinate distance from a vector to the nearest code; 0 means it is one."""

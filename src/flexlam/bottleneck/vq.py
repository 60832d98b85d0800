"""Vector quantization: each slot becomes the nearest of |C| learned vectors (van den Oord et al. 2017)."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from flexlam.bottleneck.base import QuantizerConfig

_EPSILON = 1e-5  # keeps codes that were never used from being divided by zero


class VQ(nn.Module):
    """One codebook for all slots, moved by exponential averages of what it stands for; gradients pass straight through.

    Inputs are standardised over the batch first, so that a codebook drawn from a normal distribution meets them where
    they are. A code that is hardly used is given the vector of the batch that is served worst.
    """

    class Config(QuantizerConfig):
        """Settings of vector quantization; decay and commitment as in LAPO (2312.10812)."""

        name: Literal["vq"] = "vq"
        codebook_size: int = Field(default=64, ge=2)
        """Number of codes that a slot can take."""
        dim: int = Field(default=16, ge=1)
        """Width of a code."""
        decay: float = Field(default=0.99, ge=0, lt=1)
        """Share of the old average that an update keeps."""
        commitment: float = Field(default=0.25, ge=0)
        """Weight of the squared distance between a slot and its code."""
        min_usage: float = Field(default=0.01, ge=0)
        """A code whose averaged use falls below this share of an even use is replaced."""
        normalize: Literal["batch", "none"] = "batch"
        """Standardise each coordinate of each slot over the batch first."""

    codebook: Tensor
    _counts: Tensor
    _sums: Tensor

    def __init__(self, config: Config, num_slots: int) -> None:
        super().__init__()
        self.config = config
        self.latent_dim, self.codebook_size, self.step = config.dim, config.codebook_size, 0.0
        self.norm = (
            nn.BatchNorm1d(num_slots * config.dim, affine=False) if config.normalize == "batch" else nn.Identity()
        )
        codebook = torch.randn(config.codebook_size, config.dim)
        self.register_buffer("codebook", codebook)
        self.register_buffer("_counts", torch.ones(config.codebook_size))
        self.register_buffer("_sums", codebook.clone())

    def forward(
        self, x: Float[Tensor, "B K D"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B K D"], Int[Tensor, "B K"], Float[Tensor, ""]]:
        """Quantised latents, code indices, and the commitment loss; in training the codebook follows."""
        x = self.norm(x.float().flatten(1)).view(x.shape)
        flat = x.detach().flatten(0, 1)
        # |x|² is the same for every code: it is added for those that are served worst, and not by cdist, for ONNX.
        distances = flat.square().sum(1, keepdim=True) - 2 * flat @ self.codebook.T + self.codebook.square().sum(1)
        indices = distances.argmin(1)
        codes = self.codebook[indices].view(x.shape)
        commitment = self.config.commitment * (x - codes).square().mean().nan_to_num()  # of no slots: 0
        if self.training:
            self._follow(flat, indices, distances)
        return x + (codes - x).detach(), indices.view(x.shape[:2]), commitment

    def indices_to_latents(self, indices: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch K D"]:
        """The vectors of codes."""
        return self.codebook[indices]

    def project(
        self, latents: Float[Tensor, "*batch K D"]
    ) -> tuple[Float[Tensor, "*batch K D"], Int[Tensor, "*batch K"]]:
        """The nearest vectors of the codebook, and their indices."""
        indices = torch.cdist(latents.flatten(0, -2), self.codebook).argmin(1).view(latents.shape[:-1])
        return self.codebook[indices], indices

    def hold(self, latents: Float[Tensor, "*batch K D"]) -> Float[Tensor, "*batch K D"]:
        """Latents held to the range of valid ones, coordinate by coordinate; gradients end at its edge."""
        return latents.clamp(self.codebook.amin(0), self.codebook.amax(0))

    def null_init(self) -> Float[Tensor, "D"]:
        """The origin, where inputs have their mean and, in several dimensions, hardly a code is."""
        return torch.zeros(self.latent_dim)

    def distance_to_codes(self, vector: Float[Tensor, "D"]) -> float:
        """Largest-coordinate distance from a vector to the nearest code; 0 means it is one."""
        return float((self.codebook - vector.detach()).abs().amax(1).min())

    @torch.no_grad()
    def _follow(self, flat: Float[Tensor, "N D"], indices: Int[Tensor, "N"], distances: Float[Tensor, "N C"]) -> None:
        """Move every code to the running mean of what it stood for; replace those that stand for next to nothing."""
        decay, size = self.config.decay, self.codebook_size
        counts = torch.bincount(indices, minlength=size).float()
        self._counts.lerp_(counts, 1 - decay)
        self._sums.lerp_(torch.zeros_like(self._sums).index_add_(0, indices, flat), 1 - decay)
        idle = (self._counts < self.config.min_usage * len(flat) / size).nonzero()[:, 0][: len(flat)]
        worst = distances.amin(1).topk(len(idle)).indices
        self._sums[idle] = flat[worst] * (each := len(flat) / size)
        self._counts[idle] = each
        self.codebook.copy_(self._sums / self._counts.clamp_min(_EPSILON)[:, None])

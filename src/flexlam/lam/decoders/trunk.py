"""The transformer that both decoders share: image patches in, image patches out, modulated by a condition."""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.lam.decoders.base import DecoderConfig
from flexlam.nn.blocks import AdaLNBlock, modulate
from flexlam.nn.patches import patchify, unpatchify


class TrunkConfig(DecoderConfig):
    """Size of a decoder."""

    patch_size: int = Field(default=8, ge=1)
    """Side of a patch in pixels; must divide the frame."""
    dim: int = Field(default=128, ge=1)
    """Width of the transformer."""
    depth: int = Field(default=3, ge=0)
    """Number of blocks."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads of each block."""


class DecoderTrunk(nn.Module):
    """DiT blocks over patches; the latents enter through adaLN, flattened, so that no length input is needed."""

    def __init__(
        self,
        config: TrunkConfig,
        in_channels: int,
        out_channels: int,
        frame_size: tuple[int, int],
        latents_dim: int,
    ) -> None:
        super().__init__()
        height, width = frame_size
        self.patch_size, self.height = config.patch_size, height
        num_patches = (height // config.patch_size) * (width // config.patch_size)
        self.embed = nn.Linear(in_channels * config.patch_size**2, config.dim)
        self.positions = nn.Parameter(torch.randn(num_patches, config.dim) * 0.02)
        self.condition = nn.Sequential(nn.Linear(latents_dim, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim))
        self.blocks = nn.ModuleList(AdaLNBlock(config.dim, config.num_heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, elementwise_affine=False)
        self.modulation = nn.Linear(config.dim, 2 * config.dim)
        self.head = nn.Linear(config.dim, out_channels * config.patch_size**2)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        images: Float[Tensor, "B Cin H W"],
        latents: Float[Tensor, "B K D"],
        extra: Float[Tensor, "B dim"] | None = None,
    ) -> Float[Tensor, "B Cout H W"]:
        """Images from images and latents; `extra` is added to the condition."""
        condition = self.condition(latents.flatten(1))
        if extra is not None:
            condition = condition + extra
        condition = nn.functional.silu(condition)
        x = self.embed(patchify(images, self.patch_size)) + self.positions
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return unpatchify(self.head(modulate(self.norm(x), shift, scale)), self.height, self.patch_size).float()

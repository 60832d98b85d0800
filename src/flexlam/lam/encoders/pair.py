"""Pair encoder: patches of both frames and K register queries through one transformer (FlexLAM §4, App. A.4)."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.lam.encoders.base import EncoderConfig
from flexlam.nn.blocks import Block
from flexlam.nn.patches import check_patch_size, patchify


class PairEncoder(nn.Module):
    """One token per patch position holds that patch of both frames (a tubelet of two); registers read them."""

    class Config(EncoderConfig):
        """Settings of the pair encoder."""

        name: Literal["pair"] = "pair"
        patch_size: int = Field(default=16, ge=1)
        """Side of a patch in pixels; must divide the frame."""
        dim: int = Field(default=128, ge=1)
        """Width of the transformer."""
        depth: int = Field(default=3, ge=0)
        """Number of blocks."""
        num_heads: int = Field(default=4, ge=1)
        """Attention heads of each block."""

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], num_slots: int, slot_dim: int) -> None:
        super().__init__()
        height, width, channels = frame_shape
        check_patch_size(config.patch_size, frame_shape)
        self.patch_size = config.patch_size
        self.num_slots = num_slots
        num_patches = (height // config.patch_size) * (width // config.patch_size)
        self.embed = nn.Linear(2 * channels * config.patch_size**2, config.dim)
        self.positions = nn.Parameter(torch.randn(num_patches, config.dim) * 0.02)
        # Registers start well apart: identical ones stay identical, and every input then maps to one code.
        self.registers = nn.Parameter(torch.randn(num_slots, config.dim))
        self.blocks = nn.ModuleList(Block(config.dim, config.num_heads) for _ in range(config.depth))
        self.head = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, slot_dim))

    def forward(self, obs: Float[Tensor, "B C H W"], next_obs: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K D"]:
        """Slots of a batch of frame pairs."""
        tokens = self.embed(patchify(torch.cat([obs, next_obs], dim=1), self.patch_size)) + self.positions
        x = torch.cat([self.registers.expand(obs.shape[0], -1, -1), tokens], dim=1)  # (B, K + N, dim)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, : self.num_slots])

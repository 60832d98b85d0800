"""Predict the next frame's features instead of its pixels; a slowly following copy makes them (LAOM, 2502.00379)."""

import copy
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.action import ActionSpec
from flexlam.lam.model import LatentActionModel
from flexlam.nn.blocks import AdaLNBlock, Block
from flexlam.nn.patches import check_patch_size, patchify
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig


class FeaturePrediction(nn.Module):
    """Features of o_t and the latent action give those of o_{t+1}, which an exponential average of the network makes.

    Features that say the same of every frame would be predicted best of all; a hinge on their spread over the batch
    forbids it (VICReg, Bardes et al. 2022).
    """

    needs_twin: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    trains_decoder: ClassVar[bool] = False

    class Config(ObjectiveConfig):
        """Settings."""

        name: Literal["features"] = "features"
        patch_size: int = Field(default=16, ge=1)
        """Side of a patch in pixels; must divide the frame."""
        dim: int = Field(default=64, ge=1)
        """Width of the features of a patch."""
        depth: int = Field(default=2, ge=0)
        """Number of blocks that make features; as many predict them."""
        num_heads: int = Field(default=2, ge=1)
        """Attention heads of each block."""
        momentum: float = Field(default=0.99, ge=0, le=1)
        """Share of the old weights that the following copy keeps in a step."""
        spread_weight: float = Field(default=1.0, ge=0)
        """Weight of the hinge that keeps features apart."""

    def __init__(self, config: Config, model: LatentActionModel, spec: ActionSpec | None) -> None:
        super().__init__()
        check_patch_size(config.patch_size, model.frame_shape)
        self.config = config
        self.features = _Features(config, model.frame_shape)
        self.following = copy.deepcopy(self.features).requires_grad_(False)
        condition_dim = model.num_slots * model.latent_dim
        self.condition = nn.Sequential(
            nn.Linear(condition_dim, config.dim), nn.GELU(), nn.Linear(config.dim, config.dim)
        )
        self.blocks = nn.ModuleList(AdaLNBlock(config.dim, config.num_heads) for _ in range(config.depth))
        self.head = nn.Linear(config.dim, config.dim)

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Squared error of normalised features, and the hinge; in training the copy follows first."""
        if self.training:
            self._follow()
        present = self.features(batch.obs)  # (B, N, dim)
        condition = F.silu(self.condition(batch.latents.flatten(1)))
        x = present
        for block in self.blocks:
            x = block(x, condition)
        with torch.no_grad():
            wanted = _normalised(self.following(batch.next_obs))
        spread = F.relu(1 - (present.float().var(0) + 1e-4).sqrt()).mean()
        return F.mse_loss(_normalised(self.head(x)), wanted) + self.config.spread_weight * spread

    @torch.no_grad()
    def _follow(self) -> None:
        for slow, fast in zip(self.following.parameters(), self.features.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.config.momentum)


class _Features(nn.Module):
    """Tokens of the patches of one frame."""

    def __init__(self, config: FeaturePrediction.Config, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = frame_shape
        self.patch_size = config.patch_size
        num_patches = (height // config.patch_size) * (width // config.patch_size)
        self.embed = nn.Linear(channels * config.patch_size**2, config.dim)
        self.positions = nn.Parameter(torch.randn(num_patches, config.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(config.dim, config.num_heads) for _ in range(config.depth))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N dim"]:
        x = self.embed(patchify(images, self.patch_size)) + self.positions
        for block in self.blocks:
            x = block(x)
        return x


def _normalised(features: Tensor) -> Tensor:
    return F.layer_norm(features.float(), features.shape[-1:])

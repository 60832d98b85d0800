"""Predict how things move, not what they look like: optical flow as target (after LAOF, 2511.16407)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.action import ActionSpec
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.decoders.trunk import DecoderTrunk
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import check_patch_size
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig


class OpticalFlow(nn.Module):
    """Flow of small blocks between the frames, less what the whole picture does, and only where blocks are found again.

    A background that moves as one is taken out, and one that changes without moving is not found again. A background
    of many independently moving things stays.
    """

    needs_twin: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    trains_decoder: ClassVar[bool] = False

    class Config(ObjectiveConfig):
        """Settings."""

        name: Literal["optical-flow"] = "optical-flow"
        block_size: int = Field(default=8, ge=2)
        """Side of a block in pixels; must divide the frame."""
        reach: int = Field(default=4, ge=1)
        """Pixels up to which a block is looked for, each way."""
        max_residual: float = Field(default=0.5, gt=0)
        """A block whose best match leaves more than this share of its change has no flow."""
        dim: int = Field(default=64, ge=1)
        """Width of the network that predicts the flow from a frame and a latent action."""
        depth: int = Field(default=2, ge=0)
        """Number of its blocks."""
        num_heads: int = Field(default=2, ge=1)
        """Attention heads of each block."""

    def __init__(self, config: Config, model: LatentActionModel, spec: ActionSpec | None) -> None:
        super().__init__()
        check_patch_size(config.block_size, model.frame_shape)
        height, width, channels = model.frame_shape
        self.config = config
        size = RegressionDecoder.Config(
            patch_size=config.block_size, dim=config.dim, depth=config.depth, num_heads=config.num_heads
        )
        self.trunk = DecoderTrunk(size, channels, 2, (height, width), model.num_slots * model.latent_dim)

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Squared error of the flow, in blocks' widths, over the blocks that were found again."""
        c = self.config
        with torch.no_grad():
            flow, found = block_flow(batch.obs, batch.next_obs, c.block_size, c.reach, c.max_residual)
        predicted = F.avg_pool2d(self.trunk(batch.obs, batch.latents), c.block_size)
        error = (predicted - flow / c.block_size).square().mean(1) * found
        return error.sum() / found.sum().clamp_min(1)


def block_flow(
    obs: Float[Tensor, "B C H W"], next_obs: Float[Tensor, "B C H W"], block_size: int, reach: int, max_residual: float
) -> tuple[Float[Tensor, "B 2 h w"], Float[Tensor, "B h w"]]:
    """Pixels (down, right) that each block of o_t has moved beyond the picture's median, and whether it was found.

    By exhaustive search over whole pixels, in grey; of equally good matches the nearest.
    """
    grey, later = (images.float().mean(1, keepdim=True) for images in (obs, next_obs))
    height, width = grey.shape[-2:]
    padded = F.pad(later, (reach,) * 4, mode="replicate")
    offsets = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    offsets.sort(key=lambda offset: offset[0] ** 2 + offset[1] ** 2)  # argmin takes the first of equals
    costs = torch.cat(
        [
            F.avg_pool2d(
                (padded[..., reach + y : reach + y + height, reach + x : reach + x + width] - grey).square(), block_size
            )
            for y, x in offsets
        ],
        dim=1,
    )  # (B, S, h, w)
    least, best = costs.min(1)
    found = (least <= max_residual * costs[:, 0]).float()  # a block that stands still is found where it was
    flow = torch.tensor(offsets, dtype=torch.float32, device=grey.device)[best].movedim(-1, 1)
    hidden = flow.masked_fill(found[:, None] == 0, float("nan")).flatten(2)
    median = hidden.nanmedian(2).values.nan_to_num(0.0)
    return flow - median[..., None, None], found

"""Behaviour cloning: from the two newest frames to an action, without codes."""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.config import Config as BaseConfig
from flexlam.nn.patches import check_patch_size


class CloningPolicy(nn.Module):
    """Patches of both frames, then 3×3 convolutions that halve the grid, then a hidden layer.

    The previous action is no input: a network that sees it learns to repeat it, and repeats it for ever when it acts.
    """

    class Config(BaseConfig):
        """Settings of the network."""

        patch_size: int = Field(default=4, ge=1)
        """Side of a patch in pixels; must divide the frame."""
        channels: tuple[int, ...] = Field(default=(48, 64, 64), min_length=1)
        """Width of the patches' embedding and of each convolution after it."""
        hidden_dim: int = Field(default=256, ge=1)
        """Width of the hidden layer."""
        dropout: float = Field(default=0.2, ge=0, lt=1)
        """Share of inputs and outputs of the hidden layer left out in each training step."""

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], out_dim: int) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        height, width, channels = frame_shape
        check_patch_size(config.patch_size, frame_shape)
        size, (first, *others) = config.patch_size, config.channels
        layers: list[nn.Module] = [nn.Conv2d(2 * channels, first, size, size), nn.GELU()]
        rows, columns, before = height // size, width // size, first
        for after in others:
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GELU()]
            rows, columns, before = (rows + 1) // 2, (columns + 1) // 2, after
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(before * rows * columns, config.hidden_dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_dim, out_dim),
        )

    def forward(self, prev_obs: Float[Tensor, "B C H W"], obs: Float[Tensor, "B C H W"]) -> Float[Tensor, "B O"]:
        """Scores of actions, to be read by an `ActionCodec`; at an episode's start both frames are the same."""
        return self.head(self.trunk(torch.cat([prev_obs, obs], dim=1)).flatten(1))

"""Behaviour cloning: from the two newest frames to an action, without codes."""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.policy.trunk import FrameTrunk, TrunkConfig


class CloningPolicy(nn.Module):
    """Patches of both frames, then 3×3 convolutions that halve the grid, then a hidden layer.

    The previous action is no input: a network that sees it learns to repeat it, and repeats it for ever when it acts.
    """

    class Config(TrunkConfig):
        """Settings of the network."""

        hidden_dim: int = Field(default=256, ge=1)
        """Width of the hidden layer."""
        dropout: float = Field(default=0.2, ge=0, lt=1)
        """Share of inputs and outputs of the hidden layer left out in each training step."""

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], out_dim: int) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        self.trunk = FrameTrunk(config, frame_shape, num_frames=2)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(self.trunk.out_dim, config.hidden_dim),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_dim, out_dim),
        )

    def forward(self, prev_obs: Float[Tensor, "B C H W"], obs: Float[Tensor, "B C H W"]) -> Float[Tensor, "B O"]:
        """Scores of actions, to be read by an `ActionCodec`; at an episode's start both frames are the same."""
        return self.head(self.trunk(torch.cat([prev_obs, obs], dim=1)))

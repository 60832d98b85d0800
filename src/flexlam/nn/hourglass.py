"""Hourglass MLP: wide skip connections, narrow hidden layers (Chen et al. 2025, arXiv 2510.01796)."""

from jaxtyping import Float
from torch import Tensor, nn


class HourglassMLP(nn.Module):
    """Lift to a wide space, add narrow residual updates there, project out."""

    def __init__(self, in_dim: int, out_dim: int, wide_dim: int, narrow_dim: int, num_blocks: int) -> None:
        super().__init__()
        self.lift = nn.Linear(in_dim, wide_dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(wide_dim),
                nn.Linear(wide_dim, narrow_dim),
                nn.GELU(),
                nn.Linear(narrow_dim, wide_dim),
            )
            for _ in range(num_blocks)
        )
        self.project = nn.Sequential(nn.LayerNorm(wide_dim), nn.Linear(wide_dim, out_dim))

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """Map vectors."""
        x = self.lift(x)
        for block in self.blocks:
            x = x + block(x)
        return self.project(x)

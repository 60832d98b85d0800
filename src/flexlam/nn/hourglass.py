"""Hourglass MLP: wide skip connections, narrow hidden layers (Chen et al. 2025, arXiv 2510.01796)."""

from jaxtyping import Float
from torch import Tensor, nn


class HourglassMLP(nn.Module):
    """Lift to a wide space, add narrow residual updates there, project out; the output starts close to zero.

    `input_dropout` hides single inputs, `dropout` hidden units, in training only.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        wide_dim: int,
        narrow_dim: int,
        num_blocks: int,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.lift = nn.Sequential(nn.Dropout(input_dropout), nn.Linear(in_dim, wide_dim))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(wide_dim),
                nn.Linear(wide_dim, narrow_dim),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(narrow_dim, wide_dim),
            )
            for _ in range(num_blocks)
        )
        out = nn.Linear(wide_dim, out_dim)
        nn.init.normal_(out.weight, std=1e-3)
        nn.init.zeros_(out.bias)
        self.project = nn.Sequential(nn.LayerNorm(wide_dim), nn.Dropout(dropout), out)

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        """Map vectors."""
        x = self.lift(x)
        for block in self.blocks:
            x = x + block(x)
        return self.project(x)

"""Hourglass MLP: wide skip connections, narrow hidden layers (Chen et al. 2025, arXiv 2510.01796)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


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


class HourglassStack(nn.Module):
    """Several networks of one size in one computation, each with inputs of its own: it takes the calls of one."""

    def __init__(self, networks: Sequence[HourglassMLP]) -> None:
        super().__init__()
        self.networks = tuple(networks)  # not registered: the stack has weights of its own
        each = [dict(network.named_parameters()) for network in networks]
        self._names = list(each[0])
        self.weights = nn.ParameterList(
            nn.Parameter(torch.stack([parameters[name].detach() for parameters in each])) for name in self._names
        )

    def forward(self, x: Float[Tensor, "S B I"]) -> Float[Tensor, "S B O"]:
        """What each network makes of its batch."""
        weights = dict(zip(self._names, self.weights, strict=True))
        like = self.networks[0]

        def linear(name: str, x: Tensor) -> Tensor:
            return torch.baddbmm(weights[f"{name}.bias"][:, None], x, weights[f"{name}.weight"].mT)

        def norm(name: str, x: Tensor) -> Tensor:
            scaled = F.layer_norm(x, x.shape[-1:]) * weights[f"{name}.weight"][:, None]
            return scaled + weights[f"{name}.bias"][:, None]

        def drop(layer: nn.Module, x: Tensor) -> Tensor:
            assert isinstance(layer, nn.Dropout)
            return F.dropout(x, layer.p, self.training)

        x = linear("lift.1", drop(like.lift[0], x))
        for number, block in enumerate(like.blocks):
            assert isinstance(block, nn.Sequential)
            hidden = F.gelu(linear(f"blocks.{number}.1", norm(f"blocks.{number}.0", x)))
            x = x + linear(f"blocks.{number}.4", drop(block[3], hidden))
        return linear("project.2", drop(like.project[1], norm("project.0", x)))

    @torch.no_grad()
    def settle(self) -> None:
        """Write the weights back into the networks."""
        for number, network in enumerate(self.networks):
            for parameter, stacked in zip(network.parameters(), self.weights, strict=True):
                parameter.copy_(stacked[number])

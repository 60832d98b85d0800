"""Baselines that no latent action should lose to."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.translator.actions import ActionCodec
from flexlam.translator.base import HourglassConfig


class InverseDynamicsModel(nn.Module):
    """The same encoder trunk and the same head as a translator's, from scratch; also given a_{t-1}."""

    def __init__(
        self, encoder: nn.Module, slots_dim: int, spec: ActionSpec, use_prev_action: bool, network: HourglassConfig
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.codec = ActionCodec(spec)
        self.use_prev_action = use_prev_action
        in_dim = slots_dim + (spec.num_features if use_prev_action else 0)
        self.head = network.build(in_dim, self.codec.out_dim)

    def forward(
        self,
        obs: Float[Tensor, "B C H W"],
        next_obs: Float[Tensor, "B C H W"],
        prev_action: Float[Tensor, "B A"],
    ) -> Float[Tensor, "B O"]:
        """Scores of actions."""
        x = self.encoder(obs, next_obs).flatten(1).float()
        if self.use_prev_action:
            x = torch.cat([x, self.codec.features(prev_action)], -1)
        return self.head(x)


class PreviousActionModel(nn.Module):
    """Knows the previous action only: one free row of scores for each previous choice, fitted in closed form.

    For one discrete dimension this is the table of add-one smoothed frequencies; several discrete dimensions each
    get their own table, continuous ones a ridge regression on the previous continuous values.
    """

    def __init__(self, spec: ActionSpec) -> None:
        super().__init__()
        self.codec = ActionCodec(spec)
        self.weights = nn.Parameter(torch.zeros(spec.num_features, self.codec.out_dim), requires_grad=False)

    @torch.no_grad()
    def fit(self, prev_action: Float[Tensor, "N A"], action: Float[Tensor, "N A"]) -> None:
        """Fit to labelled actions."""
        spec, codec = self.codec.spec, self.codec
        codec.fit(action)
        x = codec.features(prev_action)
        row = column = 0
        for dim, count in enumerate(spec.num_choices):
            target = nn.functional.one_hot(action[:, dim].long(), count).float()
            counts = x[:, row : row + count + 1].T @ target + 1.0
            self.weights[row : row + count + 1, column : column + count] = (counts / counts.sum(1, keepdim=True)).log()
            row, column = row + count + 1, column + count
        if spec.num_continuous:
            part = x[:, row:]
            target = (codec._continuous(action) - codec.mean) / codec.std
            gram = part.T @ part + torch.eye(part.shape[1])
            self.weights[row:, column:] = torch.linalg.solve(gram, part.T @ target)

    def forward(self, prev_action: Float[Tensor, "B A"]) -> Float[Tensor, "B O"]:
        """Scores of actions."""
        return self.codec.features(prev_action) @ self.weights

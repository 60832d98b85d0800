"""Predict the next frame of a twin: the same transition before another background (2605.20223, L_X-exo)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig


class CrossExogenous(nn.Module):
    """What the code tells of its own background is of no use to the twin's, so nothing is gained by telling it.

    In the linear model its minimiser is canonical correlation analysis of the two.
    """

    needs_twin: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    trains_decoder: ClassVar[bool] = True

    class Config(ObjectiveConfig):
        """Settings."""

        name: Literal["cross-exogenous"] = "cross-exogenous"

    def __init__(self, config: Config, model: LatentActionModel, spec: ActionSpec | None) -> None:
        super().__init__()

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """The decoder's loss from the twin's frame to the twin's next one."""
        assert batch.twin is not None  # asked for by needs_twin
        loss: Tensor = model.decoder.loss(*batch.twin, batch.latents, generator)
        return loss

"""No objective."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig


class Nothing(nn.Module):
    """Asks for nothing: what stands beside the main objective unless a remedy is wanted."""

    needs_twin: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    trains_decoder: ClassVar[bool] = False

    class Config(ObjectiveConfig):
        """Settings."""

        name: Literal["none"] = "none"

    def __init__(self, config: Config, model: LatentActionModel, spec: ActionSpec | None) -> None:
        super().__init__()

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Zero."""
        return batch.latents.new_zeros(())

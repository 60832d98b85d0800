"""Predict the action of a few labelled transitions, under every retained prefix (LAOM, 2502.00379; 2605.20223 §5)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.data.labels import LabelBudget
from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig, require_spec
from flexlam.translator.actions import ActionCodec
from flexlam.translator.base import HourglassConfig


class ActionSupervision(nn.Module):
    """Cross-entropy of choices, squared error of standardised continuous dimensions, by a head of its own."""

    needs_twin: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    trains_decoder: ClassVar[bool] = False

    class Config(ObjectiveConfig):
        """Settings."""

        name: Literal["action-supervision"] = "action-supervision"
        labels: LabelBudget = LabelBudget(count=256)
        """How many labels, and from where."""
        draw: int = 0
        """Which random draw of the labels."""
        network: HourglassConfig = HourglassConfig(dropout=0.0, input_dropout=0.0)
        """Size of the head."""
        batch_size: int = Field(default=32, ge=1)
        """Labelled transitions of a step (all of them, if there are fewer)."""

    def __init__(self, config: Config, model: LatentActionModel, spec: ActionSpec | None) -> None:
        super().__init__()
        self.codec = ActionCodec(require_spec(spec))
        self.head = config.network.build(model.num_slots * model.latent_dim, self.codec.out_dim)

    def fit(self, actions: Float[Tensor, "N A"]) -> None:
        """Take mean and spread of continuous dimensions from all labels."""
        self.codec.fit(actions)

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Loss of the labelled transitions."""
        assert batch.labelled_latents is not None and batch.action is not None  # asked for by needs_labels
        outputs = self.head(batch.labelled_latents.flatten(1)).float()
        return self.codec.loss(outputs, batch.action).mean()

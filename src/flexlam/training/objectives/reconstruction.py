"""Predict the next frame as it is (FlexLAM §4.1): background and all."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig


class Reconstruction(nn.Module):
    """The decoder's own objective. Its minimiser tells whatever varies most, the coming background included.

    Source: Why Latent Actions Fail (2605.20223), Prop. 4.2.
    """

    needs_twin: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    trains_decoder: ClassVar[bool] = True

    class Config(ObjectiveConfig):
        """Settings."""

        name: Literal["reconstruction"] = "reconstruction"

    def __init__(self, config: Config, model: LatentActionModel, spec: ActionSpec | None) -> None:
        super().__init__()

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """The decoder's loss on the frames that were encoded."""
        loss: Tensor = model.decoder.loss(batch.obs, batch.next_obs, batch.latents, generator)
        return loss

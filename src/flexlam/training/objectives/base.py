"""What every objective of stage 1 offers."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core.action import ActionSpec
from flexlam.core.config import ComponentConfig
from flexlam.lam.model import LatentActionModel


class ObjectiveConfig(ComponentConfig):
    """Settings of an objective, built as `Objective(config, model, action_spec)`."""

    kind: ClassVar[str] = "objective"


@dataclass(frozen=True)
class ObjectiveBatch:
    """Transitions of a training step, as an objective sees them; images are in [−1, 1]."""

    obs: Float[Tensor, "B C H W"]
    next_obs: Float[Tensor, "B C H W"]
    latents: Float[Tensor, "B K D"]
    """Under a random retained prefix of each example, null-filled; carries gradients."""
    twin: tuple[Float[Tensor, "B C H W"], Float[Tensor, "B C H W"]] | None = None
    """Both frames of the same transitions before another background, for objectives that ask for it."""
    labelled_latents: Float[Tensor, "L K D"] | None = None
    """As `latents`, of labelled transitions, for objectives that ask for labels."""
    action: Float[Tensor, "L A"] | None = None
    """Their actions."""


class Objective(Protocol):
    """A loss of the latents, with networks of its own that are trained beside the model and left behind."""

    needs_twin: ClassVar[bool]
    """Whether it reads `twin`."""
    needs_labels: ClassVar[bool]
    """Whether it reads `labelled_latents` and `action`. Then its settings have `labels`, `draw` and `batch_size`, and
    it is told all labelled actions once (`fit`)."""
    trains_decoder: ClassVar[bool]
    """Whether the model's decoder learns from it."""

    def loss(
        self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Loss, averaged over the batch."""


def require_spec(spec: ActionSpec | None) -> ActionSpec:
    """The action spec; an objective that needs labels is not built without one."""
    assert spec is not None  # the stage has drawn labels by then, which only a store with actions has
    return spec

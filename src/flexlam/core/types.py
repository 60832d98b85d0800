"""The vocabulary that travels between the stages."""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Transitions:
    """A batch of successive frames with what happened between them.

    Frames are uint8 (B, H, W, C), channel last; they become float (B, C, H, W) inside models only.
    """

    obs: Tensor
    """(B, H, W, C) uint8, frame at time t."""
    next_obs: Tensor
    """(B, H, W, C) uint8, frame one gap later."""
    action: Tensor | None = None
    """(B, A) float32, executed at t; None where the data has no actions."""
    prev_action: Tensor | None = None
    """(B, A) float32, executed one step before t; NaN where there was none (start of an episode)."""

    def __repr__(self) -> str:
        parts = (f"{f.name}={_shape(getattr(self, f.name))}" for f in fields(self))
        return f"Transitions({', '.join(parts)})"


@dataclass(frozen=True)
class Codes:
    """Latent actions of a batch: K ordered slots, of which every prefix is a valid latent action."""

    indices: Tensor
    """(..., K) int64, which code each slot holds."""
    latents: Tensor
    """(..., K, D) float32, the quantised coordinates of those codes."""

    def __repr__(self) -> str:
        return f"Codes(indices={_shape(self.indices)}, latents={_shape(self.latents)})"


def _shape(value: Tensor | None) -> str:
    return "None" if value is None else f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"

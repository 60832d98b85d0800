"""Random changes of training frames that leave their actions as they are."""

import numpy as np
import torch
from jaxtyping import UInt8
from pydantic import Field
from torch import Tensor

from flexlam.core.config import Config


class AugmentationConfig(Config):
    """Random changes, one draw for a transition: its frames stay as they are to each other."""

    max_shift: int = Field(default=0, ge=0)
    """Pixels up to which the picture is moved each way, edges repeated."""
    brightness: float = Field(default=0.0, ge=0)
    """Standard deviation of the brightness, in stops (factors of two)."""

    def change(self, frames: UInt8[Tensor, "B H W C"], generator: torch.Generator) -> UInt8[Tensor, "B H W C"]:
        """Frames of a transition side by side as channels, changed together."""
        frames = shift_frames(frames, self.max_shift, generator)
        if not self.brightness:
            return frames
        gain = torch.exp2(self.brightness * torch.randn(len(frames), 1, 1, 1, generator=generator))
        return (frames * gain).round().clamp(0, 255).to(torch.uint8)


def shift_frames(
    frames: UInt8[Tensor, "B H W C"], max_shift: int, generator: torch.Generator
) -> UInt8[Tensor, "B H W C"]:
    """Move each frame by its own random offset of up to `max_shift` pixels each way, edges repeated."""
    if max_shift == 0:
        return frames
    height, width = frames.shape[1:3]
    around = (max_shift, max_shift)
    padded = torch.from_numpy(np.pad(frames.numpy(), ((0, 0), around, around, (0, 0)), mode="edge"))
    offsets = torch.randint(0, 2 * max_shift + 1, (len(frames), 2), generator=generator).tolist()
    return torch.stack([frame[y : y + height, x : x + width] for frame, (y, x) in zip(padded, offsets, strict=True)])

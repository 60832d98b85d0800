"""Random changes of training frames that leave their actions as they are."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor


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

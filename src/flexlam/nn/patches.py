"""Frames to model inputs and back: the one place where layout and range change."""

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from flexlam.core.errors import ConfigError


def frames_to_images(frames: UInt8[Tensor, "*batch H W C"]) -> Float[Tensor, "*batch C H W"]:
    """uint8 frames, channel last, to float32 images in [-1, 1], channel first."""
    return frames.movedim(-1, -3).contiguous().float().div_(127.5).sub_(1.0)


def images_to_frames(images: Float[Tensor, "*batch C H W"]) -> UInt8[Tensor, "*batch H W C"]:
    """Images in [-1, 1] (clipped) to uint8 frames; exact inverse of `frames_to_images`."""
    return images.float().clamp(-1, 1).add(1.0).mul(127.5).round().to(torch.uint8).movedim(-3, -1).contiguous()


THUMBNAIL_SIZE = 8
THUMBNAIL_DIM = 3 * THUMBNAIL_SIZE**2


def thumbnails(images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B P"]:
    """Images averaged to 8 x 8 pixels in three channels, flattened: what a small network can take in of a frame."""
    return F.adaptive_avg_pool2d(images, THUMBNAIL_SIZE).expand(-1, 3, -1, -1).flatten(1)


def patchify(images: Float[Tensor, "B C H W"], patch_size: int) -> Float[Tensor, "B N P"]:
    """Cut into square patches in reading order; P = C·patch_size²."""
    return rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch_size, q=patch_size)


def unpatchify(patches: Float[Tensor, "B N P"], height: int, patch_size: int) -> Float[Tensor, "B C H W"]:
    """Inverse of `patchify` for images of a given height in pixels."""
    return rearrange(patches, "b (h w) (c p q) -> b c (h p) (w q)", h=height // patch_size, p=patch_size, q=patch_size)


def check_patch_size(patch_size: int, frame_shape: tuple[int, int, int]) -> None:
    """Refuse patches that do not tile the frame.

    Raises:
        ConfigError: the patch size does not divide height and width.
    """
    height, width, _ = frame_shape
    if height % patch_size or width % patch_size:
        raise ConfigError(
            f"patch_size {patch_size} does not divide frames of {height}×{width} pixels; choose a common divisor."
        )

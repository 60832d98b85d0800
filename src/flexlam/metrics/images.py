"""Image quality: PSNR and SSIM, one value an image."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core.errors import DataError

_CHUNK = 256  # images compared at once: bounds the memory
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2

Images = np.ndarray | Tensor
"""uint8 frames (B, H, W, C), or float images (B, C, H, W) in [0, 1]; NumPy or torch."""


def psnr(a: Images, b: Images) -> Float[Tensor, "B"]:
    """Peak signal-to-noise ratio of each image in dB, over pixels and channels; infinite for equal images.

    Raises:
        DataError: different shapes or dtypes, not a batch of images, or values out of range.
    """
    a, b = _batches(a, b)
    parts = [-10 * torch.log10((_unit(x) - _unit(y)).square().mean(dim=(1, 2, 3))) for x, y in _chunks(a, b)]
    return torch.cat(parts)


def ssim(a: Images, b: Images) -> Float[Tensor, "B"]:
    """Structural similarity of each image (Wang et al. 2004), averaged over pixels and channels.

    Gaussian window of 11 pixels with σ = 1.5; borders are mirrored, as torchmetrics does.

    Raises:
        DataError: as `psnr`, or images of fewer than 6 pixels a side, which cannot be mirrored.
    """
    a, b = _batches(a, b)
    height, width = a.shape[1:3] if a.dtype == torch.uint8 else a.shape[2:4]
    if min(height, width) <= _WINDOW // 2:
        raise DataError(
            f"SSIM needs images of at least {_WINDOW // 2 + 1} pixels a side; got {height}×{width}. Use PSNR instead."
        )
    return torch.cat([_ssim(_unit(x), _unit(y)) for x, y in _chunks(a, b)])


def _ssim(a: Float[Tensor, "B C H W"], b: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    variance_a, variance_b = (
        (square_a - mean_a.square()).clamp(min=0),
        (square_b - mean_b.square()).clamp(min=0),
    )
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a.square() + mean_b.square() + _C1)
    contrast_structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    similarity: Tensor = luminance * contrast_structure
    return similarity.mean(dim=(1, 2, 3))


def _blur(images: Float[Tensor, "N B C H W"]) -> Float[Tensor, "N B C H W"]:
    """Gaussian window over mirrored borders, as one product an axis: convolution of single channels is far slower."""
    height, width = images.shape[-2:]
    blurred: Tensor = _blur_matrix(height).to(images) @ images @ _blur_matrix(width).to(images).mT
    return blurred


def _blur_matrix(size: int) -> Float[Tensor, "L L"]:
    """What each pixel of a line takes from the others; weights that reach over an end are mirrored at it."""
    offsets = torch.arange(-(_WINDOW // 2), _WINDOW // 2 + 1)
    window = torch.exp(-0.5 * (offsets.double() / _SIGMA).square())
    sources = (torch.arange(size)[:, None] + offsets).abs()
    sources = size - 1 - (size - 1 - sources).abs()
    weights = (window / window.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, sources, weights)


def _unit(batch: Tensor) -> Float[Tensor, "B C H W"]:
    """Floats in [0, 1], channel first; single precision at least."""
    if batch.dtype == torch.uint8:
        return batch.movedim(-1, 1).float().div(255)
    return batch if batch.dtype == torch.float64 else batch.float()


def _chunks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(a), _CHUNK):
        yield a[start : start + _CHUNK], b[start : start + _CHUNK]


def _batches(a: Images, b: Images) -> tuple[Tensor, Tensor]:
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise DataError(
            f"Only like can be compared with like; got {_describe(a)} and {_describe(b)}. Convert one to the other."
        )
    if a.ndim != 4 or len(a) == 0 or not (a.dtype == torch.uint8 or a.is_floating_point()):
        raise DataError(
            f"Got {_describe(a)}; expected one or more uint8 frames (B, H, W, C), "
            "or float images (B, C, H, W) in [0, 1]."
        )
    if a.is_floating_point():
        for images in (a, b):
            low, high = (float(value) for value in images.aminmax())
            if not 0 <= low <= high <= 1:  # also refuses NaN
                raise DataError(
                    f"Float images hold values from {low:g} to {high:g}; expected [0, 1]. "
                    "Rescale them, or pass uint8 frames."
                )
    return a, b


def _describe(batch: Tensor) -> str:
    return f"{str(batch.dtype).removeprefix('torch.')} of shape {tuple(batch.shape)}"

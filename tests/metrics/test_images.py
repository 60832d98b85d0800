import numpy as np
import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from flexlam.core.errors import DataError
from flexlam.metrics.images import psnr, ssim


def _pair(seed: int, num_images: int = 5, height: int = 24, width: int = 31) -> tuple[np.ndarray, np.ndarray]:
    """Smooth frames and noisy copies of them, the noise growing from image to image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 10
    phase = rng.uniform(0, 6, (num_images, 1, 1, 3))
    clean = 127 + 80 * np.sin(x[None, :, :, None] + phase) * np.cos(y[None, :, :, None] - phase)
    noise = rng.normal(0, 1, clean.shape) * np.linspace(2, 60, num_images)[:, None, None, None]
    return clean.round().astype(np.uint8), (clean + noise).clip(0, 255).round().astype(np.uint8)


def _images(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).movedim(-1, 1).double() / 255


@pytest.mark.parametrize("seed", [0, 1])
def test_psnr_agrees_with_torchmetrics(seed: int) -> None:
    a, b = _pair(seed)
    oracle = PeakSignalNoiseRatio(data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(a, b).double(), oracle(_images(b), _images(a)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_ssim_agrees_with_torchmetrics(seed: int) -> None:
    a, b = _pair(seed)
    oracle = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
    expected = oracle(_images(b), _images(a))
    assert expected.max() - expected.min() > 0.3  # the images span good and bad
    torch.testing.assert_close(ssim(a, b).double(), expected, rtol=0, atol=1e-5)


def test_ssim_agrees_with_torchmetrics_on_frames_of_the_model() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    b = (0.7 * a + 0.3 * rng.integers(0, 256, a.shape)).astype(np.uint8)
    oracle = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
    torch.testing.assert_close(ssim(a, b).double(), oracle(_images(b), _images(a)), rtol=0, atol=1e-5)


def test_frames_and_images_give_the_same() -> None:
    a, b = _pair(3)
    for measure in (psnr, ssim):
        from_images = measure(_images(a).float(), _images(b).float())
        torch.testing.assert_close(measure(a, b), from_images, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(measure(torch.from_numpy(a), torch.from_numpy(b)), measure(a, b), rtol=0, atol=0)


def test_one_value_an_image_whatever_its_neighbours() -> None:
    a, b = _pair(4, num_images=300, height=12, width=12)  # more than one chunk
    for measure in (psnr, ssim):
        together = measure(a, b)
        assert together.shape == (300,)
        torch.testing.assert_close(together[[7, 299]], measure(a[[7, 299]], b[[7, 299]]), rtol=1e-5, atol=1e-5)


def test_a_known_value() -> None:
    a = np.zeros((1, 16, 16, 3), np.uint8)
    assert float(psnr(a, a + 51)) == pytest.approx(20 * np.log10(5), abs=1e-5)


def test_equal_images() -> None:
    a, _ = _pair(5)
    assert torch.isinf(psnr(a, a)).all()
    torch.testing.assert_close(ssim(a, a), torch.ones(len(a)))


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((2, 16, 16, 3), np.uint8), np.zeros((3, 16, 16, 3), np.uint8), "like"),
        (np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 16, 16, 3), np.float32), "like"),
        (np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3), np.uint8), "expected one or more"),
        (np.zeros((0, 16, 16, 3), np.uint8), np.zeros((0, 16, 16, 3), np.uint8), "expected one or more"),
        (np.zeros((2, 16, 16, 3), np.int64), np.zeros((2, 16, 16, 3), np.int64), "expected one or more"),
        (np.full((2, 3, 16, 16), -1.0), np.zeros((2, 3, 16, 16)), "Rescale"),
        (np.zeros((2, 3, 16, 16)), np.full((2, 3, 16, 16), 255.0), "Rescale"),
        (np.full((2, 3, 16, 16), np.nan), np.zeros((2, 3, 16, 16)), "Rescale"),
    ],
)
def test_bad_images_are_refused(measure, a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        measure(a, b)


def test_ssim_refuses_images_too_small_to_mirror() -> None:
    small = np.zeros((1, 5, 64, 3), np.uint8)
    with pytest.raises(DataError, match="at least 6"):
        ssim(small, small)

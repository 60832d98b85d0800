import numpy as np
import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.nn.patches import check_patch_size, frames_to_images, images_to_frames, patchify, unpatchify


def test_every_pixel_value_survives_the_round_trip() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(4, 8, 8, 1)
    images = frames_to_images(frames)
    assert images.shape == (4, 1, 8, 8)
    assert images.min() == -1 and images.max() == 1
    assert torch.equal(images_to_frames(images), frames)


def test_layout_changes_and_the_source_stays_as_it_was() -> None:
    frames = torch.randint(0, 256, (2, 3, 4, 5, 3), dtype=torch.uint8)
    before = frames.clone()
    images = frames_to_images(frames)
    assert images.shape == (2, 3, 3, 4, 5)
    assert images[1, 2, 0, 3, 4] == pytest.approx(float(frames[1, 2, 3, 4, 0]) / 127.5 - 1)
    assert torch.equal(frames, before)
    assert torch.equal(images_to_frames(images), frames)


def test_values_out_of_range_are_clipped() -> None:
    images = torch.tensor([-3.0, -1.0, 1.0, 3.0]).view(1, 1, 4)
    assert images_to_frames(images).flatten().tolist() == [0, 0, 255, 255]


def test_patches_come_in_reading_order_and_fit_together_again() -> None:
    images = torch.arange(2 * 3 * 8 * 12, dtype=torch.float32).view(2, 3, 8, 12)
    patches = patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    np.testing.assert_array_equal(patches[1, 2], images[1, :, :4, 8:].flatten())
    np.testing.assert_array_equal(patches[1, 3], images[1, :, 4:, :4].flatten())
    assert torch.equal(unpatchify(patches, 8, 4), images)


@pytest.mark.parametrize("shape", [(10, 8, 3), (8, 10, 3)])
def test_a_patch_that_does_not_tile_the_frame_is_refused(shape: tuple[int, int, int]) -> None:
    check_patch_size(4, (8, 12, 3))
    with pytest.raises(ConfigError, match="patch_size 4 does not divide"):
        check_patch_size(4, shape)

import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.policy.trunk import FrameTrunk, TrunkConfig


@pytest.mark.parametrize(("height", "width", "count"), [(64, 64, 1), (20, 12, 3), (8, 8, 2)])
def test_features_are_as_many_as_it_says(height: int, width: int, count: int) -> None:
    trunk = FrameTrunk(TrunkConfig(patch_size=4, channels=(8, 16, 8)), (height, width, 3), count)
    assert trunk(torch.rand(2, 3 * count, height, width)).shape == (2, trunk.out_dim)


def test_a_patch_that_does_not_tile_the_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="patch_size 4 does not divide frames of 18×16"):
        FrameTrunk(TrunkConfig(), (18, 16, 3), 1)

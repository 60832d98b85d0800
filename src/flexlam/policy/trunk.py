"""A small convolutional network over a few frames: the eyes of cloning, flow and regression policies."""

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.config import Config
from flexlam.nn.patches import check_patch_size


class TrunkConfig(Config):
    """Size of the network."""

    patch_size: int = Field(default=4, ge=1)
    """Side of a patch in pixels; must divide the frame."""
    channels: tuple[int, ...] = Field(default=(48, 64, 64), min_length=1)
    """Width of the patches' embedding and of each convolution after it."""


class FrameTrunk(nn.Sequential):
    """Patches of all frames together, then 3×3 convolutions that halve the grid.

    Raises:
        ConfigError: the patch size does not divide the frame.
    """

    def __init__(self, config: TrunkConfig, frame_shape: tuple[int, int, int], num_frames: int) -> None:
        height, width, channels = frame_shape
        check_patch_size(config.patch_size, frame_shape)
        size, (first, *others) = config.patch_size, config.channels
        layers: list[nn.Module] = [nn.Conv2d(num_frames * channels, first, size, size), nn.GELU()]
        rows, columns, before = height // size, width // size, first
        for after in others:
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GELU()]
            rows, columns, before = (rows + 1) // 2, (columns + 1) // 2, after
        super().__init__(*layers)
        self.out_dim = before * rows * columns

    def forward(self, images: Float[Tensor, "B nC H W"]) -> Float[Tensor, "B F"]:
        """Features of frames that lie one behind the other in the channels."""
        return super().forward(images).flatten(1)

"""What every encoder offers."""

from typing import ClassVar

from flexlam.core.config import ComponentConfig


class EncoderConfig(ComponentConfig):
    """Settings of an encoder, built as `Encoder(config, frame_shape, num_slots, slot_dim)`.

    Its forward maps images obs, next_obs (B, C, H, W) in [−1, 1] to slots (B, K, slot_dim).
    """

    kind: ClassVar[str] = "encoder"

"""What every translator offers: it serves latent actions of several prefix lengths."""

from typing import ClassVar

from pydantic import Field

from flexlam.core.config import ComponentConfig, Config


class HourglassConfig(Config):
    """Size of the network (hourglass MLP; wide skip, narrow hidden layers)."""

    wide_dim: int = Field(default=256, ge=1)
    """Width of the skip connection."""
    narrow_dim: int = Field(default=64, ge=1)
    """Width of the hidden layers."""
    num_blocks: int = Field(default=2, ge=0)
    """Number of residual blocks."""


class TranslatorConfig(ComponentConfig):
    """Settings of a translator."""

    kind: ClassVar[str] = "translator"
    network: HourglassConfig = HourglassConfig()
    """Size of the network (of each one, where there are several)."""
    use_prev_action: bool = True
    """Feed a_{t-1} (the paper does; it lowers the loss on recordings and makes an acting agent repeat itself)."""

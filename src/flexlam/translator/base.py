"""What every translator offers: it serves latent actions of several prefix lengths."""

from typing import ClassVar

from pydantic import Field

from flexlam.core.config import ComponentConfig, Config
from flexlam.nn.hourglass import HourglassMLP


class HourglassConfig(Config):
    """Size of the network (hourglass MLP; wide skip, narrow hidden layers)."""

    wide_dim: int = Field(default=256, ge=1)
    """Width of the skip connection."""
    narrow_dim: int = Field(default=64, ge=1)
    """Width of the hidden layers."""
    num_blocks: int = Field(default=1, ge=0)
    """Number of residual blocks."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of hidden units left out in each training step, against overfitting a few labels."""
    input_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of inputs left out in each training step."""

    def build(self, in_dim: int, out_dim: int) -> HourglassMLP:
        """A network of this size."""
        return HourglassMLP(
            in_dim, out_dim, self.wide_dim, self.narrow_dim, self.num_blocks, self.dropout, self.input_dropout
        )


class TranslatorConfig(ComponentConfig):
    """Settings of a translator."""

    kind: ClassVar[str] = "translator"
    network: HourglassConfig = HourglassConfig()
    """Size of the network (of each one, where there are several)."""
    use_prev_action: bool = True
    """Feed a_{t-1} (the paper does; it lowers the loss on recordings and makes an acting agent repeat itself)."""
    use_obs: bool = False
    """Feed o_t, averaged to 8 x 8 pixels (an ablation of the paper's, Fig. 10: it adds sensitivity to appearance)."""

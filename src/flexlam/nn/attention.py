"""Multi-head self-attention without masks."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.errors import ConfigError


class SelfAttention(nn.Module):
    """Every token attends to every token."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(f"num_heads {num_heads} does not divide dim {dim}; choose a divisor.")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Mix tokens."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        return self.out(rearrange(attend(q, k, v), "b h n d -> b n (h d)"))


def attend(
    q: Float[Tensor, "B H N D"], k: Float[Tensor, "B H M D"], v: Float[Tensor, "B H M D"]
) -> Float[Tensor, "B H N D"]:
    """softmax(q kᵀ / √D) v."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        # torch's fused kernel takes 5-8x the time of these three lines in its bfloat16 backward pass on CPU.
        weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
        return weights @ v
    return F.scaled_dot_product_attention(q, k, v)

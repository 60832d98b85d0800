"""Multi-head self-attention without masks, and the arithmetic of attention that everything shares."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.errors import ConfigError

_FEW = 16  # queries up to which it is faster on a CPU to lay heads that share keys side by side


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
    q: Float[Tensor, "B H N D"],
    k: Float[Tensor, "B H M D"],
    v: Float[Tensor, "B H M D"],
    mask: Bool[Tensor, "#B 1 N M"] | Float[Tensor, "#B 1 N M"] | None = None,
) -> Float[Tensor, "B H N D"]:
    """softmax(q kᵀ / √D) v over the keys that the mask lets through (all of them without one)."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        # torch's fused kernel takes 5-8x the time of these lines in its bfloat16 backward pass on CPU.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return torch.softmax(scores, dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_in_groups(
    q: Float[Tensor, "B H N D"],
    k: Float[Tensor, "B G M D"],
    v: Float[Tensor, "B G M D"],
    mask: Bool[Tensor, "#B 1 L M"] | Float[Tensor, "#B 1 L M"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B H N D"]:
    """`attend` where H / G successive query heads share a key head; no key is copied.

    The mask has L = N rows, or is what `prepare_mask` made of such a one. `causal` is for N = M without a mask: a token
    sees itself and what is before it, and half of the work is left out.
    """
    num_groups, num_tokens = k.shape[1], q.shape[2]
    share = q.shape[1] // num_groups
    many = num_tokens > _FEW and q.device.type == "cpu" and not torch.is_grad_enabled()
    if causal or (share > 1 and many):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=share > 1)
    if share == 1:
        return attend(q, k, v, mask)
    # Heads that share keys are laid side by side, as if they were more queries of one head.
    if mask is not None and mask.shape[2] == num_tokens:
        mask = mask.repeat(1, 1, share, 1)
    mixed = attend(q.reshape(len(q), num_groups, -1, q.shape[-1]), k, v, mask)
    return mixed.reshape(q.shape)


def prepare_mask(mask: Bool[Tensor, "B 1 N M"], share: int, dtype: torch.dtype) -> Float[Tensor, "B 1 L M"]:
    """What is added to the scores, 0 or −∞, as `attend_in_groups` needs it without gradients: once for many layers."""
    added = torch.zeros(mask.shape, device=mask.device, dtype=dtype).masked_fill_(~mask, float("-inf"))
    return added.repeat(1, 1, share, 1) if mask.shape[2] <= _FEW else added

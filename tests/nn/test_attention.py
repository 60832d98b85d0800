import math

import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.nn.attention import SelfAttention, attend


def qkv(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 4, 5, 8, generator=generator).to(dtype),
        torch.randn(2, 4, 7, 8, generator=generator).to(dtype),
        torch.randn(2, 4, 7, 8, generator=generator).to(dtype),
    )


def test_attend_is_softmax_of_scaled_products() -> None:
    q, k, v = qkv()
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) / math.sqrt(8)
    expected = torch.einsum("bhnm,bhmd->bhnd", scores.softmax(-1), v)
    torch.testing.assert_close(attend(q, k, v), expected)


def test_the_bfloat16_way_with_gradients_agrees_with_the_fused_one() -> None:
    q, k, v = qkv(torch.bfloat16)
    with torch.enable_grad():
        ours = attend(q, k, v)
    with torch.no_grad():
        fused = attend(q, k, v)
    torch.testing.assert_close(ours.float(), fused.float(), rtol=0.02, atol=0.02)


def test_tokens_are_treated_alike() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(16, 4)
    x = torch.randn(2, 6, 16)
    order = torch.randperm(6)
    torch.testing.assert_close(attention(x)[:, order], attention(x[:, order]))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_heads 3 does not divide dim 16"):
        SelfAttention(16, 3)

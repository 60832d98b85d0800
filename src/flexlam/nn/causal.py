"""A decoder-only transformer in the layout of Qwen3, with a key-value cache that the caller addresses.

Pre-norm with RMSNorm, grouped-query attention with normalised queries and keys, rotary positions, SwiGLU. Parameters
have the names of `transformers.Qwen3Model` (less its embedding table), so weights go both ways. The caller says which
position every token has and what it sees: that is all that causal, tree-shaped and cached passes differ in.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.config import Config
from flexlam.nn.attention import attend_in_groups, prepare_mask


class CausalConfig(Config):
    """Size of the transformer."""

    dim: int = Field(default=128, ge=1)
    """Width."""
    depth: int = Field(default=3, ge=1)
    """Number of layers."""
    num_heads: int = Field(default=4, ge=1)
    """Query heads of each layer."""
    num_key_heads: int = Field(default=2, ge=1)
    """Heads of keys and values; must divide the query heads."""
    head_dim: int = Field(default=32, ge=2)
    """Width of a head, an even number."""
    hidden_dim: int = Field(default=256, ge=1)
    """Width of the SwiGLU layer."""
    rope_theta: float = Field(default=10_000.0, gt=1)
    """Base of the rotary frequencies."""
    norm_eps: float = Field(default=1e-6, gt=0)
    """Added under the root of RMSNorm."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "CausalConfig":
        if self.num_heads % self.num_key_heads:
            raise ValueError(f"num_key_heads {self.num_key_heads} does not divide num_heads {self.num_heads}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}; rotary positions need an even number")
        return self


class KeyValueCache:
    """Keys and values of all layers, (layers, B, heads, capacity, head_dim) each."""

    def __init__(
        self, config: CausalConfig, batch_size: int, capacity: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (config.depth, batch_size, config.num_key_heads, capacity, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self._layers = list(zip(self.keys, self.values, strict=True))

    @property
    def capacity(self) -> int:
        """Tokens that fit."""
        return self.keys.shape[3]

    def write(self, layer: int, keys: Tensor, values: Tensor, slots: slice | Tensor) -> None:
        """Put (B, heads, N, head_dim) into slots: the same for all rows (a slice), or (B, N) ones of each row."""
        layer_keys, layer_values = self._layers[layer]
        if isinstance(slots, slice):
            layer_keys[:, :, slots] = keys
            layer_values[:, :, slots] = values
        else:
            rows = torch.arange(len(slots), device=slots.device)[:, None]
            layer_keys.transpose(1, 2)[rows, slots] = keys.transpose(1, 2)
            layer_values.transpose(1, 2)[rows, slots] = values.transpose(1, 2)

    def read(self, layer: int, num_seen: int) -> tuple[Tensor, Tensor]:
        """Keys and values in the first slots, (B, heads, num_seen, head_dim) each."""
        keys, values = self._layers[layer]
        return keys.narrow(2, 0, num_seen), values.narrow(2, 0, num_seen)

    def copy_rows(self, rows: Tensor, other: "KeyValueCache") -> None:
        """Take over everything in another cache, whose rows become these rows."""
        self.keys[:, rows, :, : other.capacity] = other.keys
        self.values[:, rows, :, : other.capacity] = other.values


class CausalTransformer(nn.Module):
    """Layers and the last norm."""

    _cos: Tensor
    _sin: Tensor

    def __init__(self, config: CausalConfig, max_positions: int) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(CausalLayer(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.dim, eps=config.norm_eps)
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        angles = torch.outer(torch.arange(max_positions, dtype=torch.float32), config.rope_theta**-exponents)
        self.register_buffer("_cos", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("_sin", torch.cat([-angles, angles], -1).sin(), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        positions: Int[Tensor, "#B N"],
        mask: Bool[Tensor, "#B 1 N M"] | None,
        cache: KeyValueCache | None = None,
        slots: slice | Tensor | None = None,
        num_seen: int | None = None,
        causal: bool = False,
        last_only: bool = False,
    ) -> Float[Tensor, "B O D"]:
        """Hidden states of tokens at given positions (from 0), O = N; of the last token, O = 1, if it alone is wanted.

        Without a cache, M = N: the tokens see each other as the mask says. With one, their keys are written into
        `slots` and they see the first M = `num_seen` slots as the mask says (all of those without a mask). `causal`
        stands for the mask of M = N tokens of which each sees itself and what is before it.
        """
        if mask is not None and not torch.is_grad_enabled():
            mask = prepare_mask(mask, self.config.num_heads // self.config.num_key_heads, x.dtype)
        cos, sin = self._cos[positions][:, :, None], self._sin[positions][:, :, None]
        step = Pass((cos, sin), mask, cache, slots, num_seen, causal)
        for number, layer in enumerate(self.layers):
            x = layer(x, step, number, last_only and number == len(self.layers) - 1)
        return self.norm(x)


@dataclass(frozen=True)
class Pass:
    """What all layers need to know of a pass; see `CausalTransformer.forward`."""

    rotation: tuple[Tensor, Tensor]
    """Cosines and sines, (B, N, 1, head_dim) each."""
    mask: Tensor | None
    cache: KeyValueCache | None
    slots: slice | Tensor | None
    num_seen: int | None
    causal: bool


class CausalLayer(nn.Module):
    """Attention, then SwiGLU."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.dim, eps=config.norm_eps)
        self.self_attn = CausalAttention(config)
        self.post_attention_layernorm = RMSNorm(config.dim, eps=config.norm_eps)
        self.mlp = SwiGLU(config.dim, config.hidden_dim)

    def forward(self, x: Tensor, step: Pass, number: int, last_only: bool) -> Tensor:
        """Update tokens, or the last one alone."""
        mixed = self.self_attn(self.input_layernorm(x), step, number, last_only)
        x = (x[:, -1:] if last_only else x) + mixed
        return x + self.mlp(self.post_attention_layernorm(x))


class CausalAttention(nn.Module):
    """Grouped-query attention with normalised queries and keys and rotary positions."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.q_proj = nn.Linear(config.dim, config.num_heads * config.head_dim, bias=False)
        self.k_proj = nn.Linear(config.dim, config.num_key_heads * config.head_dim, bias=False)
        self.v_proj = nn.Linear(config.dim, config.num_key_heads * config.head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_heads * config.head_dim, config.dim, bias=False)
        self.q_norm = RMSNorm(config.head_dim, eps=config.norm_eps)
        self.k_norm = RMSNorm(config.head_dim, eps=config.norm_eps)

    def forward(self, x: Tensor, step: Pass, number: int, last_only: bool) -> Tensor:
        """Mix tokens; all write their keys and values, even where the last one alone goes on."""
        q, k, v = multiply(x, self.q_proj, self.k_proj, self.v_proj)
        cos, sin = step.rotation
        k, v = self._placed(k, self.k_norm, cos, sin), self._heads(v).transpose(1, 2)
        mask = step.mask
        if last_only:
            q, cos, sin = q[:, -1:], cos[:, -1:], sin[:, -1:]
            mask = mask[:, :, -1:] if mask is not None else None
        q = self._placed(q, self.q_norm, cos, sin)
        if step.cache is not None:
            assert step.slots is not None and step.num_seen is not None
            step.cache.write(number, k, v, step.slots)
            k, v = step.cache.read(number, step.num_seen)
        mixed = attend_in_groups(q, k, v, mask, step.causal and not last_only)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim)  # (B, N, heads, head_dim)

    def _placed(self, x: Tensor, norm: nn.RMSNorm, cos: Tensor, sin: Tensor) -> Tensor:
        """Normalised and turned heads, in the type of the weights: under autocast the projections are narrower."""
        return rotate(norm(self._heads(x).to(norm.weight.dtype)), cos, sin).to(x.dtype).transpose(1, 2)


class SwiGLU(nn.Module):
    """Gated MLP (Shazeer 2020)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, hidden_dim, bias=False)
        self.up_proj = nn.Linear(dim, hidden_dim, bias=False)
        self.down_proj = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Update tokens one by one."""
        gate, up = multiply(x, self.gate_proj, self.up_proj)
        return self.down_proj(F.silu(gate) * up)


class RMSNorm(nn.RMSNorm):
    """torch's, in half of its time on a CPU where no gradients are wanted: there it is a long chain of small steps."""

    _floor: Tensor
    _zero: Tensor

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__(dim, eps=eps)
        self._scale = dim**0.5
        self.register_buffer("_floor", torch.tensor((eps * dim) ** 0.5), persistent=False)
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x / √(mean(x²) + ε) · weight."""
        if torch.is_grad_enabled() or x.device.type != "cpu":
            return super().forward(x)
        length = torch.linalg.vector_norm(x, 2, -1, True)
        return torch.addcdiv(self._zero, x * self.weight, torch.hypot(length, self._floor), value=self._scale)


def rotate(
    x: Float[Tensor, "B N H D"], cos: Float[Tensor, "#B N 1 D"], sin: Float[Tensor, "#B N 1 D"]
) -> Float[Tensor, "B N H D"]:
    """Turn each pair of coordinates (i, i + D/2) by its angle (Su et al. 2021); the first half of `sin` is negative."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def multiply(x: Float[Tensor, "B N D"], *layers: nn.Linear) -> tuple[Tensor, ...]:
    """Outputs of several layers without biases; of one product where `lay_out` has put their weights side by side."""
    first, total = layers[0].weight, sum(layer.out_features for layer in layers)
    place = first.data_ptr()
    for layer in layers:
        if torch.is_grad_enabled() or layer.weight.stride() != (1, total) or layer.weight.data_ptr() != place:
            return tuple(layer(x) for layer in layers)
        place += layer.out_features * first.element_size()
    joined = first.as_strided((first.shape[1], total), (total, 1))
    return (x @ joined).split([layer.out_features for layer in layers], -1)


def lay_out(module: nn.Module) -> None:
    """Order the memory of weights on a CPU for passes of a few tokens; names, shapes and values stay.

    A product with one or a few tokens waits for memory, and long stretches of it are read up to twice as fast: the
    longer side of a matrix becomes contiguous, and matrices with the same input lie side by side (see `multiply`).
    """
    for part in module.modules():
        if isinstance(part, CausalAttention):
            _join(part.q_proj, part.k_proj, part.v_proj)
            _join(part.o_proj)
        elif isinstance(part, SwiGLU):
            _join(part.gate_proj, part.up_proj)
            _join(part.down_proj)
        elif part is module and isinstance(part, nn.Linear):
            _join(part)


def _join(*layers: nn.Linear) -> None:
    if layers[0].weight.device.type != "cpu":
        return
    with torch.inference_mode(layers[0].weight.is_inference()):  # weights stay fit for training where they were
        joined = torch.cat([layer.weight.data for layer in layers])
        joined = joined.t().contiguous().t() if len(layers) > 1 or len(joined) >= joined.shape[1] else joined
        for layer, weight in zip(layers, joined.split([layer.out_features for layer in layers]), strict=True):
            layer.weight.data = weight

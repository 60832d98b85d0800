"""The retained prefix: keep the first k slots, fill the rest with one shared null latent (FlexLAM §4.1)."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from flexlam.core.errors import ConfigError

PrefixSampling = Literal["uniform", "from-one", "powers-of-two", "short", "long", "half-full", "full"]

# Unnormalised p(k) over k = 0..K. "full" is the Fixed-K baseline: the whole code, always.
_FAMILIES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "uniform": lambda k, K: torch.ones_like(k),
    "from-one": lambda k, K: (k > 0).float(),
    "powers-of-two": lambda k, K: torch.tensor([float(i == K or i & (i - 1) == 0) for i in range(K + 1)]),
    "short": lambda k, K: K + 1 - k,
    "long": lambda k, K: k + 1,
    "half-full": lambda k, K: torch.where(k == K, float(K), 1.0),
    "full": lambda k, K: (k == K).float(),
}


def prefix_probabilities(sampling: PrefixSampling, num_slots: int) -> Float[Tensor, "{num_slots}+1"]:
    """p(k) for k = 0..K.

    Raises:
        ConfigError: the distribution is unknown.
    """
    if sampling not in get_args(PrefixSampling):
        raise ConfigError(f"Unknown prefix sampling {sampling!r}; choose from {', '.join(get_args(PrefixSampling))}.")
    weights = _FAMILIES[sampling](torch.arange(num_slots + 1, dtype=torch.float32), num_slots)
    return weights / weights.sum()


def check_prefix_length(prefix_length: int, num_slots: int) -> None:
    """Refuse a k that no model with K slots can serve.

    Raises:
        ConfigError: k lies outside 0..K.
    """
    if not isinstance(prefix_length, int) or isinstance(prefix_length, bool) or not 0 <= prefix_length <= num_slots:
        raise ConfigError(
            f"prefix_length is {prefix_length}; this model has {num_slots} slots, so give 0 to {num_slots}."
        )


class RetainedPrefix(nn.Module):
    """Nested dropout over slots with a learnable null latent. Works over any quantizer, or none.

    In training k ~ p(k) is drawn per example; in evaluation the whole code is kept unless told otherwise. No length
    input and no mask: what is missing shows in the slots themselves.
    """

    _probabilities: Tensor

    def __init__(
        self,
        num_slots: int,
        latent_dim: int,
        sampling: PrefixSampling = "uniform",
        null_init: Float[Tensor, "D"] | None = None,
    ) -> None:
        super().__init__()
        self.num_slots = num_slots
        start = torch.full((latent_dim,), 0.02) if null_init is None else null_init.clone()
        self.null_latent = nn.Parameter(start)
        self.register_buffer("_probabilities", prefix_probabilities(sampling, num_slots), persistent=False)

    def forward(
        self,
        latents: Float[Tensor, "*batch K D"],
        prefix_length: int | Int[Tensor, "*batch"] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "*batch K D"], Int[Tensor, "*batch"]]:
        """Null-fill every slot beyond k; returns the filled latents and the k of each example.

        Raises:
            ConfigError: k lies outside 0..K.
        """
        k = self._lengths(latents.shape[:-2], prefix_length, generator).to(latents.device)
        keep = torch.arange(self.num_slots, device=latents.device) < k[..., None]
        return torch.where(keep[..., None], latents, self.null_latent.to(latents.dtype)), k

    def _lengths(
        self, batch: torch.Size, prefix_length: int | Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        if isinstance(prefix_length, Tensor):
            if prefix_length.numel():
                check_prefix_length(int(prefix_length.min()), self.num_slots)
                check_prefix_length(int(prefix_length.max()), self.num_slots)
            return prefix_length.expand(batch)
        if prefix_length is not None:
            check_prefix_length(prefix_length, self.num_slots)
            return torch.full(batch, prefix_length)
        if not self.training:
            return torch.full(batch, self.num_slots)
        probabilities = self._probabilities
        if generator is not None:
            probabilities = probabilities.to(generator.device)
        return torch.multinomial(probabilities, batch.numel(), replacement=True, generator=generator).view(batch)


def reported_prefix_lengths(num_slots: int) -> tuple[int, ...]:
    """The k that tables and curves show: 0, 1, 2, 4, ... and K."""
    powers = [1 << i for i in range(num_slots.bit_length()) if 1 << i < num_slots]
    return (0, *powers, num_slots)

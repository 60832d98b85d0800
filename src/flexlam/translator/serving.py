"""Two ways to serve every prefix length: one network that has seen them all, or a small one for each.

Both read the flattened K slots in quantised coordinates, null-filled beyond k, and the previous action
(FlexLAM §4.2). Neither is told k.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.bottleneck.prefix import PrefixSampling, RetainedPrefix, reported_prefix_lengths
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError
from flexlam.nn.hourglass import HourglassMLP
from flexlam.translator.actions import ActionCodec
from flexlam.translator.base import TranslatorConfig


class Translator(nn.Module):
    """What both have in common: the frozen null latent, the action codec, the input vector."""

    served: tuple[int, ...]
    """Every k it can serve."""

    def __init__(self, config: Any, spec: ActionSpec, null_latent: Float[Tensor, "D"], num_slots: int) -> None:
        super().__init__()
        self.config = config
        self.num_slots = num_slots
        self.codec = ActionCodec(spec)
        sampling: PrefixSampling = getattr(config, "prefix_sampling", "full")
        self.prefix = RetainedPrefix(num_slots, len(null_latent), sampling, null_latent).requires_grad_(False)
        self._sizes = (
            num_slots * len(null_latent) + (spec.num_features if config.use_prev_action else 0),
            self.codec.out_dim,
        )

    def loss(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        action: Float[Tensor, "B A"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Training loss."""
        raise NotImplementedError

    def forward(
        self, latents: Float[Tensor, "B K D"], prev_action: Float[Tensor, "B A"], prefix_length: int
    ) -> Float[Tensor, "B O"]:
        """Scores of actions (read them with `codec`) from the first `prefix_length` slots."""
        raise NotImplementedError

    def members(self) -> list[HourglassMLP]:
        """The networks, each of which is trained on inputs of its own."""
        raise NotImplementedError

    def fill(
        self, latents: Float[Tensor, "*batch K D"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "M *batch K D"]:
        """Latents as each of the M members sees them in training: null-filled beyond its k."""
        raise NotImplementedError

    def _network(self) -> HourglassMLP:
        network: HourglassMLP = self.config.network.build(*self._sizes)
        return network

    def _inputs(self, filled: Tensor, prev_action: Tensor) -> Tensor:
        inputs = filled.flatten(1)
        return torch.cat([inputs, self.codec.features(prev_action)], -1) if self.config.use_prev_action else inputs


class PrefixSampledTranslator(Translator):
    """The paper's: one network, k drawn per example in training."""

    class Config(TranslatorConfig):
        """Settings of the prefix-sampled translator."""

        name: Literal["prefix-sampled"] = "prefix-sampled"
        prefix_sampling: PrefixSampling = "uniform"
        """p(k); uniform is the paper's, powers-of-two did better in our trials (docs/log.md)."""

    def __init__(self, config: Config, spec: ActionSpec, null_latent: Float[Tensor, "D"], num_slots: int) -> None:
        super().__init__(config, spec, null_latent, num_slots)
        self.network = self._network()
        self.served = tuple(range(num_slots + 1))

    def loss(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        action: Float[Tensor, "B A"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Action loss under a random retained prefix of each example."""
        filled, _ = self.prefix(latents, generator=generator)
        return self.codec.loss(self.network(self._inputs(filled, prev_action)), action).mean()

    def members(self) -> list[HourglassMLP]:
        """The one network."""
        return [self.network]

    def fill(
        self, latents: Float[Tensor, "*batch K D"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "M *batch K D"]:
        """A random retained prefix of each example."""
        return self.prefix(latents, generator=generator)[0][None]

    def forward(
        self, latents: Float[Tensor, "B K D"], prev_action: Float[Tensor, "B A"], prefix_length: int
    ) -> Float[Tensor, "B O"]:
        """Scores of actions (read them with `codec`) from the first `prefix_length` slots."""
        filled, _ = self.prefix(latents, prefix_length)
        return self.network(self._inputs(filled, prev_action))


class PerPrefixTranslator(Translator):
    """One small network for each of a few prefix lengths."""

    class Config(TranslatorConfig):
        """Settings of the translators per prefix length."""

        name: Literal["per-prefix"] = "per-prefix"
        prefix_lengths: tuple[int, ...] = ()
        """The k to serve; empty means 0, 1, 2, 4, ... and K."""

    def __init__(self, config: Config, spec: ActionSpec, null_latent: Float[Tensor, "D"], num_slots: int) -> None:
        super().__init__(config, spec, null_latent, num_slots)
        self.served = tuple(sorted(set(config.prefix_lengths) or reported_prefix_lengths(num_slots)))
        self.networks = nn.ModuleDict({str(k): self._network() for k in self.served})

    def loss(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        action: Float[Tensor, "B A"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Sum of the networks' action losses; each has its own weights, so the sum trains each alone."""
        losses = [self.codec.loss(self(latents, prev_action, k), action).mean() for k in self.served]
        return torch.stack(losses).sum()

    def members(self) -> list[HourglassMLP]:
        """One network for each k, in order."""
        return [self.networks[str(k)] for k in self.served]  # type: ignore[misc]

    def fill(
        self, latents: Float[Tensor, "*batch K D"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "M *batch K D"]:
        """The first k slots for the network of each k."""
        return torch.stack([self.prefix(latents, k)[0] for k in self.served])

    def forward(
        self, latents: Float[Tensor, "B K D"], prev_action: Float[Tensor, "B A"], prefix_length: int
    ) -> Float[Tensor, "B O"]:
        """Scores of actions from the first `prefix_length` slots.

        Raises:
            ConfigError: there is no network for that k.
        """
        if prefix_length not in self.served:
            raise ConfigError(f"This translator serves prefix lengths {self.served}; got {prefix_length}.")
        filled, _ = self.prefix(latents, prefix_length)
        return self.networks[str(prefix_length)](self._inputs(filled, prev_action))

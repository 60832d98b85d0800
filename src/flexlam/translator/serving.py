"""Ways to serve every prefix length: one network that has seen them all, a small one for each, or their average.

They read the flattened K slots in quantised coordinates, null-filled beyond k, and the previous action
(FlexLAM §4.2). None is told k.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.bottleneck.prefix import PrefixSampling, RetainedPrefix, reported_prefix_lengths
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError
from flexlam.nn.hourglass import HourglassMLP
from flexlam.nn.patches import THUMBNAIL_DIM
from flexlam.translator.actions import ActionCodec
from flexlam.translator.base import TranslatorConfig


class Translator(nn.Module):
    """What they have in common: the frozen null latent, the action codec, the input vector."""

    served: tuple[int, ...]
    """Every k it can serve."""
    policy_hash: str | None = None
    """Hash of the policy from whose latents it has learned; None: from encoded ones, which go with any policy."""

    def __init__(self, config: Any, spec: ActionSpec, null_latent: Float[Tensor, "D"], num_slots: int) -> None:
        super().__init__()
        self.config = config
        self.num_slots = num_slots
        self.codec = ActionCodec(spec)
        sampling: PrefixSampling = getattr(config, "prefix_sampling", "full")
        self.prefix = RetainedPrefix(num_slots, len(null_latent), sampling, null_latent).requires_grad_(False)
        self._sizes = (
            num_slots * len(null_latent)
            + (spec.num_features if config.use_prev_action else 0)
            + (THUMBNAIL_DIM if config.use_obs else 0),
            self.codec.out_dim,
        )

    def loss(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        action: Float[Tensor, "B A"],
        generator: torch.Generator | None = None,
        obs: Float[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, ""]:
        """Training loss: the sum of the networks' action losses. Each has its own weights, so it is trained alone."""
        context = self.context(prev_action, obs)
        losses = [
            self.codec.loss(network(torch.cat([seen.flatten(1), context], -1)), action).mean()
            for network, seen in zip(self.members(), self.fill(latents, generator), strict=True)
        ]
        return torch.stack(losses).sum()

    def forward(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        prefix_length: int,
        obs: Float[Tensor, "B P"] | None = None,
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

    def context(
        self, prev_action: Float[Tensor, "*batch A"], obs: Float[Tensor, "*batch P"] | None
    ) -> Float[Tensor, "*batch C"]:
        """What the networks read beside latents: features of a_{t-1} and the thumbnail of o_t, as the settings say.

        Raises:
            ConfigError: o_t is read, and is missing.
        """
        parts = [self.codec.features(prev_action)] if self.config.use_prev_action else [prev_action[..., :0]]
        if self.config.use_obs:
            if obs is None:
                raise ConfigError("This translator reads o_t (translator.use_obs); give its thumbnails, too.")
            parts.append(obs)
        return torch.cat(parts, -1)


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

    def members(self) -> list[HourglassMLP]:
        """The one network."""
        return [self.network]

    def fill(
        self, latents: Float[Tensor, "*batch K D"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "M *batch K D"]:
        """A random retained prefix of each example."""
        return self.prefix(latents, generator=generator)[0][None]

    def forward(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        prefix_length: int,
        obs: Float[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """Scores of actions (read them with `codec`) from the first `prefix_length` slots."""
        filled, _ = self.prefix(latents, prefix_length)
        return self.network(torch.cat([filled.flatten(1), self.context(prev_action, obs)], -1))


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

    def members(self) -> list[HourglassMLP]:
        """One network for each k, in order."""
        return [self.networks[str(k)] for k in self.served]  # type: ignore[misc]

    def fill(
        self, latents: Float[Tensor, "*batch K D"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "M *batch K D"]:
        """The first k slots for the network of each k."""
        return torch.stack([self.prefix(latents, k)[0] for k in self.served])

    def forward(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        prefix_length: int,
        obs: Float[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """Scores of actions from the first `prefix_length` slots.

        Raises:
            ConfigError: there is no network for that k.
        """
        self._check(prefix_length)
        return self.alone(latents, prev_action, prefix_length, obs)

    def alone(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        prefix_length: int,
        obs: Float[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """Scores by the network of that k."""
        filled, _ = self.prefix(latents, prefix_length)
        return self.networks[str(prefix_length)](torch.cat([filled.flatten(1), self.context(prev_action, obs)], -1))

    def _check(self, prefix_length: int) -> None:
        if prefix_length not in self.served:
            raise ConfigError(f"This translator serves prefix lengths {self.served}; got {prefix_length}.")


class PrefixEnsembleTranslator(PerPrefixTranslator):
    """A network for each of a few prefix lengths; what it says at k ≥ 1 is the average of those from 1 to k.

    Short prefixes are safe with few labels, long ones precise with many: every prefix is a valid code, so nothing has
    to be chosen (ours, docs/evidence.md).
    """

    class Config(PerPrefixTranslator.Config):
        """Settings of the ensemble over prefixes."""

        name: Literal["prefix-ensemble"] = "prefix-ensemble"  # type: ignore[assignment]

    def forward(
        self,
        latents: Float[Tensor, "B K D"],
        prev_action: Float[Tensor, "B A"],
        prefix_length: int,
        obs: Float[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B O"]:
        """Average scores (`ActionCodec.average`) of the networks up to the first `prefix_length` slots.

        Raises:
            ConfigError: there is no network for that k.
        """
        self._check(prefix_length)
        averaged = [k for k in self.served if 0 < k <= prefix_length] or [0]
        outputs = [self.alone(latents, prev_action, k, obs) for k in averaged]
        return self.codec.average(torch.stack(outputs, 1))

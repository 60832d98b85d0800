"""Which latents a translator learns from: those of the encoder, or those that the policy will give it (LAFP §4.3).

A translator is fitted to encoded latents and fed predicted ones. Where these differ it may be fitted to the policy's
own latents instead. Those of a flow that starts from pure noise may belong to another action than the label; started
between noise and the encoded latent, it ends near that latent, where the policy puts it.
"""

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError
from flexlam.core.seeding import torch_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.rectified_flow import interpolate
from flexlam.policy.base import Policy
from flexlam.policy.flow import FlowPolicy
from flexlam.training.labelled import Labelled
from flexlam.training.predictions import carry, predict_latents


class LatentSourceConfig(Config):
    """Which latents stand for the labelled transitions."""

    source: Literal["inferred", "sampled", "interpolated"] = "inferred"
    """inferred: what the encoder says. sampled: what the policy predicts. interpolated: what its flow makes of a point
    between noise and what the encoder says."""
    interpolation: float = Field(default=0.5, gt=0, lt=1)
    """Time tau at which the flow starts where latents are interpolated: the share of the encoded latent."""
    num_draws: int = Field(default=16, ge=1)
    """Latents drawn for each label, with fresh noise; a training step reads one of them, held-out losses all."""
    num_steps: int = Field(default=3, ge=1)
    """Euler steps of a flow from noise; those that start later take as many fewer."""

    def remaining_steps(self) -> int:
        """Steps of about the same size from the time where interpolated latents start."""
        return max(1, math.ceil(self.num_steps * (1 - self.interpolation) - 1e-9))


def with_latents(
    config: LatentSourceConfig,
    lam: LatentActionModel,
    policy: Policy | None,
    store: FrameStore,
    index: TransitionIndex,
    rows: np.ndarray,
    labels: Labelled,
    seed: int,
) -> Labelled:
    """Labels of transitions (N,) with the latents that are asked for, several draws of each.

    Raises:
        ConfigError: there is no policy, or none that can do what is asked for.
    """
    if config.source == "inferred":
        return labels
    if policy is None:
        raise ConfigError(
            f"latents.source is {config.source!r}, and there is no policy to take latents from. Give one "
            "(--policy RUN), or take the encoder's: inferred."
        )
    count = config.num_draws if policy.draws else 1
    if config.source == "sampled":
        latents = predict_latents(lam, policy, store, index, rows, count, seed, config.num_steps)
    elif isinstance(policy, FlowPolicy):
        generator = torch_generator(seed, "interpolated")
        noise = torch.randn(len(rows), count, *labels.latents.shape[1:], generator=generator)
        data = policy.normalize(labels.latents.to(policy.device)).cpu()[:, None].expand_as(noise)
        points = interpolate(data, noise, torch.full((len(rows),), 1 - config.interpolation))
        steps, time = config.remaining_steps(), config.interpolation
        latents = carry(lam, policy, store, index, rows, points, steps, time)
    else:
        raise ConfigError(
            f"latents.source is 'interpolated', which a flow alone can do; this is a {policy.kind}. Give a flow "
            "(flexlam train policy PRESET --policy.name flow), or another source: inferred or sampled."
        )
    repeated = {name: getattr(labels, name).repeat_interleave(count, 0) for name in ("prev_action", "action", "obs")}
    return replace(labels, latents=latents.flatten(0, 1), num_draws=count, **repeated)

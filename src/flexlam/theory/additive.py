"""The setting of "What Do Latent Action Models Actually Learn?" (arXiv 2506.15691): o' = o + X a + ε.

X has orthonormal columns. The noise ε is the same in every coordinate (iid), or moves a random subspace as large as the
action's (structured). From its published code: d_o = 128, d_a = 8, latents 2 to 16, σ 0 to 1.5 (iid) or .5, 1, 2
(structured), action labels for 1, 5 or 10 % of the transitions with a squared error of weight 1, errors a dimension in
units of a variance of 1 (which is NMSE). Theirs is trained on batches by Adam; here minimisers are exact.
"""

from typing import Literal

import numpy as np
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError
from flexlam.theory.objectives import ActionSupervision
from flexlam.theory.world import LinearWorld, assemble

LATENT_DIMS = (2, 4, 6, 8, 10, 12, 14, 16)
"""Numbers of latents d_z."""
NOISE_SDS = {"iid": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5), "structured": (0.5, 1.0, 2.0)}
"""σ of each kind of noise; the iid ones lie within the code's range, at our distances."""
LABEL_FRACTIONS = (0.01, 0.05, 0.1)
"""Shares of transitions with an action label."""


class AdditiveConfig(Config):
    """One of the paper's worlds."""

    obs_dim: int = Field(default=128, ge=1)
    """d_o."""
    action_dim: int = Field(default=8, ge=1)
    """d_a; structured noise has as many dimensions."""
    noise: Literal["iid", "structured"] = "structured"
    """Noise in every coordinate of o', or in a random subspace."""
    noise_sd: float = Field(default=1.0, ge=0)
    """σ."""


def additive_world(config: AdditiveConfig, generator: np.random.Generator) -> LinearWorld:
    """s is o itself, ε is the exogenous innovation, and twins differ in ε alone.

    Raises:
        ConfigError: more actions than observations have dimensions.
    """
    do, da = config.obs_dim, config.action_dim
    if da > do:
        raise ConfigError(
            f"action_dim is {da}, above obs_dim {do}: X cannot have orthonormal columns. Make it smaller."
        )
    effect = np.linalg.qr(generator.standard_normal((do, da)))[0]
    subspace = np.linalg.qr(generator.standard_normal((do, da)))[0]
    view = np.eye(do) if config.noise == "iid" else subspace
    dx = view.shape[1]
    state, action, noise = np.split(np.eye(do + da + dx), [do, do + da])
    return assemble(
        endogenous_view=np.eye(do),
        exogenous_view=view,
        dynamics=np.eye(do),
        action_effect=effect,
        state=state,
        action=action,
        exogenous=np.zeros_like(noise),
        innovation=config.noise_sd * noise,
        persistence=0.0,
        sensor_noise=0.0,
        conditional_twins=True,
    )


def paper_supervision(label_fraction: float) -> ActionSupervision:
    """Its action head: a squared error of weight 1 on a share of the transitions."""
    return ActionSupervision(weight=1.0, label_fraction=label_fraction)

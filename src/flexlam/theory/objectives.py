"""What a linear LAM may be trained for: each objective is a regression of a target on (o, o') behind a bottleneck.

All of them predict ŷ = A c + B z from the decoder's context c and z = C o + D o' (arXiv 2605.20223, §3–5).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from flexlam.core.config import Config
from flexlam.theory.maps import inverse_root, residual
from flexlam.theory.world import LinearWorld


@dataclass(frozen=True)
class Regression:
    """Target, context and encoder inputs as linear maps of one base vector (`theory/maps.py`)."""

    target: Float64[np.ndarray, "y u"]
    context: Float64[np.ndarray, "c u"]
    inputs: Float64[np.ndarray, "w u"]


class Objective(Protocol):
    """A loss, as a regression in a given world."""

    def regression(self, world: LinearWorld) -> Regression:
        """Whose squared error is the loss."""
        ...


class Reconstruction(Config):
    """E||o' − A o − B z||²: what LAMs are usually trained for (2605.20223, L_LAM)."""

    def regression(self, world: LinearWorld) -> Regression:
        """o' from o and z."""
        return Regression(world.next_obs, world.obs, world.inputs)


class CrossExogenous(Config):
    """Predict the twin's o' from the twin's o and our z (2605.20223, L_X-exo)."""

    reconstruction_share: float = Field(default=0.0, ge=0, le=1)
    """Share of pairs that are no twins but the transition itself, which is plain reconstruction."""

    def regression(self, world: LinearWorld) -> Regression:
        """A mixture of both kinds of pairs: bases side by side, weighted by the roots of their shares."""
        twins, own = np.sqrt(1 - self.reconstruction_share), np.sqrt(self.reconstruction_share)
        return Regression(
            np.hstack([twins * world.twin_next_obs, own * world.next_obs]),
            np.hstack([twins * world.twin_obs, own * world.obs]),
            np.hstack([twins * world.inputs, own * world.inputs]),
        )


class CanonicalCorrelation(Config):
    """The cross-exogenous objective with a whitened target, which is CCA between twins (2605.20223, §5)."""

    def regression(self, world: LinearWorld) -> Regression:
        """Every direction of the twin's innovation counts alike."""
        plain = CrossExogenous().regression(world)
        whitener = inverse_root(residual(plain.target, plain.context))
        return Regression(whitener @ plain.target, plain.context, plain.inputs)


class ActionSupervision(Config):
    """Reconstruction, and the action of a share of the transitions, both from o and z (2605.20223, §5)."""

    weight: float = Field(default=100.0, ge=0)
    """λ of the action's squared error."""
    label_fraction: float = Field(default=1.0, ge=0, le=1)
    """Share p of the transitions that are labelled."""

    def regression(self, world: LinearWorld) -> Regression:
        """The target [o'; √(λ p) a]."""
        scale = np.sqrt(self.weight * self.label_fraction)
        return Regression(np.vstack([world.next_obs, scale * world.action]), world.obs, world.inputs)


class RobustTarget(Config):
    """Predict what hardly moves with the background, as optical flow of the agent does (2605.20223, L_ξ-robust)."""

    contamination: float = Field(default=0.1, ge=0)
    """Share of the exogenous displacement that the target still shows."""
    noise: float = Field(default=0.1, ge=0)
    """Standard deviation of the target's own error, on every coordinate."""

    def regression(self, world: LinearWorld) -> Regression:
        """The target E (s' − s) + contamination · F (ξ' − ξ) + noise."""
        moved = world.endogenous_view @ (world.next_endogenous - world.endogenous)
        moved = moved + self.contamination * world.exogenous_view @ (world.next_exogenous - world.exogenous)
        own = self.noise * np.eye(moved.shape[0])

        def wider(x: np.ndarray) -> np.ndarray:
            return np.hstack([x, np.zeros((x.shape[0], own.shape[1]))])

        return Regression(np.hstack([moved, own]), wider(world.obs), wider(world.inputs))

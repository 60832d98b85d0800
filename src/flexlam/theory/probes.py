"""What a latent action holds, from moments: linear probes, leakage of the background, consistency between twins."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from flexlam.core.errors import DataError
from flexlam.theory.closed_form import LinearLAM, minimise
from flexlam.theory.maps import inverse_root, residual, row_space, spread_of
from flexlam.theory.objectives import Reconstruction
from flexlam.theory.world import LinearWorld

HOLDS = 1e-6
"""A share of the exogenous innovation below this counts as none."""


@dataclass(frozen=True)
class Contents:
    """NMSE of linear probes: 0 means that z tells everything, 1 that it tells nothing.

    Those `given_obs` read z and o, and are measured against what o leaves open: they do not depend on what z repeats of
    o, which reconstruction leaves undetermined. The others read z alone.
    """

    action_given_obs: float
    innovation_given_obs: float
    """Of η: future leakage is 1 minus this."""
    innovation_from_action: float
    """Of η from the true action and o, without z: what it tells is no leakage."""
    action: float
    next_endogenous: float
    """Of s'."""
    next_exogenous: float
    """Of ξ'."""
    inconsistency: float
    """See `inconsistency`."""


def nmse(
    target: Float64[np.ndarray, "t u"], z: Float64[np.ndarray, "k u"], given: Float64[np.ndarray, "c u"] | None = None
) -> float:
    """Error of the best linear prediction of a target from z, as a share of its variance, summed over its dimensions.

    With `given`, the prediction reads that too, and the share is of what it leaves open (1 if it leaves nothing).

    Raises:
        DataError: the target does not vary.
    """
    scale = spread_of(target)
    if scale == 0:
        raise DataError("The probe's target does not vary; there is nothing to predict. Give it a variance.")
    left, told = (target, z) if given is None else (residual(target, given), residual(z, given))
    total = np.sum(left**2)
    if total <= (HOLDS * scale) ** 2:
        return 1.0
    basis = row_space(told, spread_of(z))
    return float(1 - np.sum((left @ basis.T) ** 2) / total)


def inconsistency(z: Float64[np.ndarray, "k u"], twin: Float64[np.ndarray, "k u"]) -> float:
    """How much z differs between twins, in whitened units: 0 the same, 1 as much as between unrelated transitions."""
    if not z.any():
        return 0.0
    whitener = inverse_root(z)
    rank = np.sum((whitener @ z) ** 2)
    return float(np.sum((whitener @ (z - twin)) ** 2) / (2 * rank))


def contents(world: LinearWorld, lam: LinearLAM) -> Contents:
    """What the latents of a model hold in a world.

    Raises:
        DataError: the world's background does not move.
    """
    z, twin = lam.encoder @ world.inputs, lam.encoder @ world.twin_inputs
    return Contents(
        action_given_obs=nmse(world.action, z, world.obs),
        innovation_given_obs=nmse(world.innovation, z, world.obs),
        innovation_from_action=nmse(world.innovation, world.action, world.obs),
        action=nmse(world.action, z),
        next_endogenous=nmse(world.next_endogenous, z),
        next_exogenous=nmse(world.next_exogenous, z),
        inconsistency=inconsistency(z, twin),
    )


@dataclass(frozen=True)
class Independence:
    """Whether reconstruction's minimiser z* is independent of ξ' (given o), and what decides it (2605.20223, §4)."""

    miss: float
    """Share of the exogenous innovation in o' that lies in the top-d_z eigenspace of the residual covariance."""
    within_rank: bool
    """d_z is at most the rank of the action's effect."""
    quiet: bool
    """The innovation's largest eigenvalue in o' lies below the d_z-th of the action's effect."""
    apart: bool
    """The innovation moves nothing that the action moves, and is uncorrelated with it."""

    @property
    def holds(self) -> bool:
        """The eigenspace is orthogonal to the innovation: no future leakage."""
        return self.miss < HOLDS


def independence(world: LinearWorld, latent_dim: int) -> Independence:
    """Check the condition: the top-d_z eigenspace of Cov(o' | o) is orthogonal to what the exogenous innovation moves.

    The three parts together are sufficient; the orthogonality itself is sufficient and necessary.

    Raises:
        ConfigError: see `check_latent_dim`.
        DataError: the world's background does not move.
    """
    if not world.innovation.any():
        raise DataError("The background does not move (exogenous_sd is 0); z cannot leak it. Give it a variance.")
    residue = residual(world.next_obs, world.obs)
    moved = residue @ row_space(world.innovation).T  # what η moves in o', with its standard deviations
    acted = world.endogenous_view @ world.action_effect @ residual(world.action, world.obs)
    eigenspace = minimise(Reconstruction().regression(world), latent_dim).decoder
    by_action = np.linalg.svd(acted, compute_uv=False)
    rank = len(row_space(acted, spread_of(world.next_obs)))
    overlap = np.abs(acted.T @ moved).max() + np.abs(acted @ world.innovation.T).max()
    return Independence(
        miss=float(np.sum((eigenspace.T @ moved) ** 2) / np.sum(moved**2)),
        within_rank=latent_dim <= rank,
        quiet=bool(latent_dim <= rank and spread_of(moved) < by_action[latent_dim - 1]),
        apart=bool(overlap < HOLDS * spread_of(world.next_obs) ** 2),
    )

"""A linear Gaussian world with endogenous and exogenous state (an Ex-BMDP; arXiv 2605.20223, §3).

s' = A_s s + G a,  ξ' = ρ ξ + η,  o = E s + F ξ + sensor noise,  a = policy(s, ξ) + noise.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, DataError
from flexlam.theory.maps import row_space

_DAMPING = 0.9  # of the endogenous state from step to step


class WorldConfig(Config):
    """How a random world is drawn. Standard deviations are in units of the endogenous state's, which is 1."""

    obs_dim: int = Field(default=64, ge=1)
    """d_o; at least endogenous_dim + exogenous_dim."""
    action_dim: int = Field(default=8, ge=1)
    """d_a; at most endogenous_dim."""
    endogenous_dim: int = Field(default=16, ge=1)
    """Dimensions of s."""
    exogenous_dim: int = Field(default=16, ge=1)
    """Dimensions of ξ."""
    action_sd: float = Field(default=1.0, gt=0)
    """Root mean square of the action's standard deviations."""
    exogenous_sd: float = Field(default=2.62, ge=0)
    """The same of the exogenous innovation η: how much the background moves."""
    spread: float = Field(default=2.0, ge=1)
    """Ratio within which the standard deviations of single coordinates of a and of η differ, at random."""
    persistence: float = Field(default=0.9, ge=0, lt=1)
    """ρ: what ξ keeps from step to step."""
    angle: float = Field(default=90.0, gt=0, le=90)
    """Degrees between what s and what ξ move in o (principal angles): 90 means orthogonal."""
    sensor_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the noise on every coordinate of o."""
    policy_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the action's variance that follows from s."""
    innovation_correlation: float = Field(default=0.0, gt=-1, lt=1)
    """Correlation of the action's noise with η: endogenous and exogenous innovations are not independent."""
    policy_correlation: float = Field(default=0.0, gt=-1, lt=1)
    """Correlation of the action with ξ: the policy looks at the background."""
    twins: Literal["conditional", "independent"] = "conditional"
    """Twins have the same s, a and s', and another ξ and ξ': drawn from what goes with this s and a, or from all."""


@dataclass(frozen=True)
class LinearWorld:
    """A transition, its twin, and what lies behind both, as linear maps of one base vector (`theory/maps.py`)."""

    obs: Float64[np.ndarray, "o u"]
    next_obs: Float64[np.ndarray, "o u"]
    twin_obs: Float64[np.ndarray, "o u"]
    twin_next_obs: Float64[np.ndarray, "o u"]
    action: Float64[np.ndarray, "a u"]
    endogenous: Float64[np.ndarray, "s u"]
    next_endogenous: Float64[np.ndarray, "s u"]
    exogenous: Float64[np.ndarray, "x u"]
    next_exogenous: Float64[np.ndarray, "x u"]
    innovation: Float64[np.ndarray, "x u"]
    """η, the part of ξ' that no past tells."""
    action_effect: Float64[np.ndarray, "s a"]
    """G."""
    endogenous_view: Float64[np.ndarray, "o s"]
    """E."""
    exogenous_view: Float64[np.ndarray, "o x"]
    """F."""

    @property
    def inputs(self) -> Float64[np.ndarray, "io u"]:
        """(o, o'), what the encoder reads."""
        return np.vstack([self.obs, self.next_obs])

    @property
    def twin_inputs(self) -> Float64[np.ndarray, "io u"]:
        """The same of the twin."""
        return np.vstack([self.twin_obs, self.twin_next_obs])


@dataclass(frozen=True)
class Draws:
    """Transitions that were drawn, and their twins."""

    obs: Float64[np.ndarray, "n o"]
    next_obs: Float64[np.ndarray, "n o"]
    twin_obs: Float64[np.ndarray, "n o"]
    twin_next_obs: Float64[np.ndarray, "n o"]
    action: Float64[np.ndarray, "n a"]
    endogenous: Float64[np.ndarray, "n s"]
    exogenous: Float64[np.ndarray, "n x"]
    innovation: Float64[np.ndarray, "n x"]

    @property
    def inputs(self) -> Float64[np.ndarray, "n io"]:
        """(o, o'), what the encoder reads."""
        return np.hstack([self.obs, self.next_obs])


def random_world(config: WorldConfig, generator: np.random.Generator) -> LinearWorld:
    """A world with random views, dynamics, policy and standard deviations.

    Raises:
        ConfigError: dimensions that do not fit, or a policy that explains more than all of the action.
    """
    _check(config)
    do, da, ds, dx = config.obs_dim, config.action_dim, config.endogenous_dim, config.exogenous_dim
    views = _orthonormal(do, ds + dx, generator)
    endogenous_view, exogenous_view = views[:, :ds], views[:, ds:].copy()
    shared, angle = min(ds, dx), np.deg2rad(config.angle)
    if config.angle < 90:
        exogenous_view[:, :shared] *= np.sin(angle)
        exogenous_view[:, :shared] += np.cos(angle) * endogenous_view[:, :shared]
    dynamics = _DAMPING * _orthonormal(ds, ds, generator)
    action_effect = _orthonormal(ds, da, generator)
    scales = _scales(dx, config.exogenous_sd, config.spread, generator)
    # Base of one transition: s, ξ (standardised), the action's own noise, η (standardised).
    state, outer, noise, shock = np.split(np.eye(ds + dx + da + dx), [ds, ds + dx, ds + dx + da])
    pairing = _orthonormal(max(da, dx), min(da, dx), generator)
    pairing = pairing if da >= dx else pairing.T  # (a, x)
    c = config.innovation_correlation
    noise = c * pairing @ shock + _root(np.eye(da) - c**2 * pairing @ pairing.T) @ noise
    by_state = np.sqrt(config.policy_share) * _orthonormal(ds, da, generator).T  # (a, s)
    by_outer = config.policy_correlation * pairing
    own = _root(np.eye(da) - by_state @ by_state.T - by_outer @ by_outer.T)
    action = by_state @ state + by_outer @ outer + own @ noise
    return assemble(
        endogenous_view=endogenous_view,
        exogenous_view=exogenous_view,
        dynamics=dynamics,
        action_effect=action_effect,
        state=state,
        action=_scales(da, config.action_sd, config.spread, generator)[:, None] * action,
        exogenous=scales[:, None] * outer / np.sqrt(1 - config.persistence**2),
        innovation=scales[:, None] * shock,
        persistence=config.persistence,
        sensor_noise=config.sensor_noise,
        conditional_twins=config.twins == "conditional",
    )


def assemble(
    *,
    endogenous_view: Float64[np.ndarray, "o s"],
    exogenous_view: Float64[np.ndarray, "o x"],
    dynamics: Float64[np.ndarray, "s s"],
    action_effect: Float64[np.ndarray, "s a"],
    state: Float64[np.ndarray, "s b"],
    action: Float64[np.ndarray, "a b"],
    exogenous: Float64[np.ndarray, "x b"],
    innovation: Float64[np.ndarray, "x b"],
    persistence: float,
    sensor_noise: float,
    conditional_twins: bool,
) -> LinearWorld:
    """A world from its matrices and from s, a, ξ and η as maps of the base of one transition.

    The twin's ξ and η have what s and a tell of them in common with ours, and the rest from a base of its own;
    independent twins have all of it from there.
    """
    do, base = endogenous_view.shape[0], state.shape[1]
    shared = row_space(np.vstack([state, action]))
    shared = shared.T @ shared if conditional_twins else np.zeros((base, base))
    eye, zero = np.eye(base), np.zeros((base, base))
    noises = sensor_noise * np.eye(4 * do if sensor_noise else 0)

    def wide(x: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.hstack([x @ first, x @ second, np.zeros((x.shape[0], len(noises)))])

    def noise(number: int) -> np.ndarray:
        own = noises[number * do : (number + 1) * do] if sensor_noise else np.zeros((do, 0))
        return np.hstack([np.zeros((do, 2 * base)), own])

    ours, twins = (eye, zero), (shared, eye - shared)
    s, a = wide(state, *ours), wide(action, *ours)
    next_s = dynamics @ s + action_effect @ a
    xi, eta = wide(exogenous, *ours), wide(innovation, *ours)
    twin_xi, twin_eta = wide(exogenous, *twins), wide(innovation, *twins)
    next_xi, next_twin_xi = persistence * xi + eta, persistence * twin_xi + twin_eta
    return LinearWorld(
        obs=endogenous_view @ s + exogenous_view @ xi + noise(0),
        next_obs=endogenous_view @ next_s + exogenous_view @ next_xi + noise(1),
        twin_obs=endogenous_view @ s + exogenous_view @ twin_xi + noise(2),
        twin_next_obs=endogenous_view @ next_s + exogenous_view @ next_twin_xi + noise(3),
        action=a,
        endogenous=s,
        next_endogenous=next_s,
        exogenous=xi,
        next_exogenous=next_xi,
        innovation=eta,
        action_effect=action_effect,
        endogenous_view=endogenous_view,
        exogenous_view=exogenous_view,
    )


def draw(world: LinearWorld, num: int, generator: np.random.Generator) -> Draws:
    """Draw transitions with their twins.

    Raises:
        DataError: fewer than one.
    """
    if num < 1:
        raise DataError(f"{num} transitions cannot be drawn; ask for one at least.")
    base = generator.standard_normal((num, world.obs.shape[1]))
    return Draws(
        obs=base @ world.obs.T,
        next_obs=base @ world.next_obs.T,
        twin_obs=base @ world.twin_obs.T,
        twin_next_obs=base @ world.twin_next_obs.T,
        action=base @ world.action.T,
        endogenous=base @ world.endogenous.T,
        exogenous=base @ world.exogenous.T,
        innovation=base @ world.innovation.T,
    )


def _check(config: WorldConfig) -> None:
    needed = config.endogenous_dim + config.exogenous_dim
    if config.obs_dim < needed:
        raise ConfigError(
            f"obs_dim is {config.obs_dim}; s and ξ need endogenous_dim + exogenous_dim = {needed} of them. Make it "
            "larger or the states smaller."
        )
    if config.action_dim > config.endogenous_dim:
        raise ConfigError(
            f"action_dim is {config.action_dim}, above endogenous_dim {config.endogenous_dim}: such actions cannot all "
            "move s. Give at most as many actions as endogenous dimensions."
        )
    explained = config.policy_share + config.policy_correlation**2
    if explained >= 1:
        raise ConfigError(
            f"policy_share + policy_correlation² is {explained:.3g}; s and ξ together must leave some of the action's "
            "variance to its own noise. Make one of them smaller, so that the sum lies below 1."
        )


def _orthonormal(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    """Random orthonormal columns, uniform over rotations."""
    q, r = np.linalg.qr(generator.standard_normal((rows, columns)))
    return q * np.sign(np.diag(r))


def _scales(dim: int, rms: float, spread: float, generator: np.random.Generator) -> np.ndarray:
    """Random standard deviations within a ratio, with a given root mean square."""
    scales = spread ** generator.uniform(-0.5, 0.5, dim)
    return rms * scales / np.sqrt(np.mean(scales**2))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T

"""Global minimisers of linear LAMs: reduced-rank regression after regressing the decoder's context out.

By Frisch and Waugh the loss is E||y_r − B N w_r||² with y_r, w_r the residuals of target and inputs given the context;
its minimisers of rank k are the top singular directions of the fitted values (Izenman 1975).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from flexlam.core.errors import ConfigError
from flexlam.theory.maps import TOLERANCE, coefficients, residual, row_space, spread_of
from flexlam.theory.objectives import Regression


@dataclass(frozen=True)
class LinearLAM:
    """ŷ = A c + B z with z = N (o, o')."""

    context: Float64[np.ndarray, "y c"]
    """A."""
    decoder: Float64[np.ndarray, "y k"]
    """B."""
    encoder: Float64[np.ndarray, "k w"]
    """N = [C D]."""

    @property
    def latent_dim(self) -> int:
        """d_z."""
        return self.encoder.shape[0]


@dataclass(frozen=True)
class Spectrum:
    """What each further latent explains of the target, in squared units of the target, largest first."""

    gains: Float64[np.ndarray, "r"]

    @property
    def rank(self) -> int:
        """Latents that are of any use."""
        return len(self.gains)

    def gap(self, latent_dim: int) -> float:
        """(λ_k − λ_{k+1}) / λ_k: by how much the k-th latent is ahead of the next; 0 where it is of no use itself."""
        if latent_dim > self.rank:
            return 0.0
        following = self.gains[latent_dim] if latent_dim < self.rank else 0.0
        return float(1 - following / self.gains[latent_dim - 1])


def check_latent_dim(regression: Regression, latent_dim: int) -> None:
    """Refuse numbers of latents that make no bottleneck.

    Raises:
        ConfigError: fewer than one latent, or more than an observation has dimensions.
    """
    obs_dim = regression.inputs.shape[0] // 2
    if not 1 <= latent_dim <= obs_dim:
        raise ConfigError(
            f"latent_dim is {latent_dim}; expected 1 to {obs_dim}, the dimensions of o. With more, z could "
            "copy o', and nothing would be learned. Make it smaller."
        )


def spectrum(regression: Regression) -> Spectrum:
    """Gains of the latents, without those that are rounding errors."""
    _, gains, _, _ = _factors(regression)
    return Spectrum(gains)


def minimise(regression: Regression, latent_dim: int) -> LinearLAM:
    """The global minimiser with ordered latents, of smallest norm where the objective leaves freedom.

    Latents are ordered by what they explain, so that every prefix is a minimiser too. Those beyond the objective's rank
    are zero. Where the objective does not say what z holds of the decoder's context, it holds none of it.

    Raises:
        ConfigError: see `check_latent_dim`.
    """
    check_latent_dim(regression, latent_dim)
    directions, gains, scores, pinv = _factors(regression)
    kept = min(latent_dim, len(gains))
    decoder = np.zeros((regression.target.shape[0], latent_dim))
    decoder[:, :kept] = directions[:, :kept]
    encoder = np.zeros((latent_dim, regression.inputs.shape[0]))
    encoder[:kept] = _forget_context(scores[:kept] @ pinv, regression)
    rest = regression.target - decoder @ encoder @ regression.inputs
    return LinearLAM(coefficients(rest, regression.context), decoder, encoder)


def with_idle_latents(lam: LinearLAM, generator: np.random.Generator) -> LinearLAM:
    """Another global minimiser: latents that the decoder does not read hold random mixtures of o and o'.

    It is what training from a random start without weight decay leaves of a latent that has no gradient.
    """
    idle = ~lam.encoder.any(axis=1)
    encoder = lam.encoder.copy()
    encoder[idle] = generator.standard_normal((int(idle.sum()), encoder.shape[1])) / np.sqrt(encoder.shape[1])
    return replace(lam, encoder=encoder)


def objective_value(regression: Regression, lam: LinearLAM) -> float:
    """E||y − A c − B z||², in squared units of the target, summed over its dimensions."""
    error = regression.target - lam.context @ regression.context - lam.decoder @ lam.encoder @ regression.inputs
    return float(np.sum(error**2))


def _factors(regression: Regression) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Target directions (y, r), gains (r,), latents on the inputs' row space (r, q), and (q, w) to get there."""
    target = residual(regression.target, regression.context)
    inputs = residual(regression.inputs, regression.context)
    left, values, basis = np.linalg.svd(inputs, full_matrices=False)
    kept = values > TOLERANCE * spread_of(regression.inputs)
    pinv = (left[:, kept] / values[kept]).T
    fitted = target @ basis[kept].T  # (y, q)
    directions, gains, _ = np.linalg.svd(fitted, full_matrices=False)
    useful = gains > TOLERANCE * spread_of(regression.target)
    directions = directions[:, useful]
    return directions, gains[useful] ** 2, directions.T @ fitted, pinv


def _forget_context(encoder: np.ndarray, regression: Regression) -> np.ndarray:
    """Add what does not change z given the context, so that z itself holds as little of the context as possible."""
    inputs = residual(regression.inputs, regression.context)
    left, values, _ = np.linalg.svd(inputs, full_matrices=True)
    rank = int(np.sum(values > TOLERANCE * spread_of(regression.inputs)))
    free = left[:, rank:].T  # rows f with f w_r = 0
    known = regression.inputs @ row_space(regression.context).T  # (w, c)
    return encoder - (encoder @ known) @ np.linalg.pinv(free @ known, rcond=TOLERANCE) @ free

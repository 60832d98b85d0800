"""Random vectors as linear maps of one standard normal base vector, so that moments are products of matrices.

A map x (d, U) stands for the vector x u with u ~ N(0, I_U): Cov(x, y) = x yᵀ, exactly.
"""

import numpy as np
from jaxtyping import Float64

TOLERANCE = 1e-9
"""Directions with less than this share of the largest standard deviation count as rounding errors."""


def row_space(x: Float64[np.ndarray, "d u"], scale: float | None = None) -> Float64[np.ndarray, "r u"]:
    """Orthonormal basis of what a vector can tell, without directions that are rounding errors beside `scale`.

    `scale` is a standard deviation; by default that of the vector's own strongest direction.
    """
    _, values, basis = np.linalg.svd(x, full_matrices=False)
    return basis[values > TOLERANCE * (values.max(initial=0.0) if scale is None else scale)]


def spread_of(x: Float64[np.ndarray, "d u"]) -> float:
    """Standard deviation of a vector's strongest direction."""
    return float(np.linalg.norm(x, 2)) if x.size else 0.0


def residual(x: Float64[np.ndarray, "d u"], given: Float64[np.ndarray, "c u"]) -> Float64[np.ndarray, "d u"]:
    """What is left of x after regressing out another vector (Frisch and Waugh 1933)."""
    basis = row_space(given)
    return x - (x @ basis.T) @ basis


def coefficients(y: Float64[np.ndarray, "d u"], x: Float64[np.ndarray, "c u"]) -> Float64[np.ndarray, "d c"]:
    """Least squares of y on x, with the smallest norm where there are many."""
    return y @ np.linalg.pinv(x, rcond=TOLERANCE)


def inverse_root(x: Float64[np.ndarray, "d u"]) -> Float64[np.ndarray, "d d"]:
    """Σ^(−1/2) of a vector's covariance Σ, zero in directions without variance."""
    directions, values, _ = np.linalg.svd(x, full_matrices=False)
    kept = values > TOLERANCE * values.max(initial=0.0)
    return (directions[:, kept] / values[kept]) @ directions[:, kept].T

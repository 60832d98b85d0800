"""Action vectors for Gymnasium's action spaces, and random draws from them."""

from typing import Any

import numpy as np
from gymnasium import spaces

from flexlam.core.action import ActionSpec
from flexlam.core.errors import SuiteError


def translate(space: spaces.Space[Any], env_id: str) -> "Choices | Vector":
    """How actions of a space are written as vectors.

    Raises:
        SuiteError: the space is a mixture, has more than one axis, or offers nothing to choose.
    """
    if isinstance(space, spaces.Discrete):
        return Choices(np.array([space.n]), np.array([space.start]), space, env_id)
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return Choices(space.nvec, space.start, space, env_id)
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return Choices(np.full(space.shape, 2), np.zeros(space.shape, np.int64), space, env_id)
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.shape[0] and space.dtype.kind == "f":
        return Vector(space)
    raise SuiteError(
        f"{env_id} has the action space {space}, which is no action of this package: expected Discrete, MultiDiscrete "
        "or MultiBinary with one axis, or Box with one axis of floats. Register it wrapped in one that has those."
    )


class Choices:
    """Discrete dimensions (A,); index 0 stands for a dimension's first choice, wherever its numbers start."""

    def __init__(self, counts: np.ndarray, starts: np.ndarray, space: spaces.Space[Any], env_id: str) -> None:
        if not len(counts) or counts.min() < 2:
            raise SuiteError(f"{env_id} has the action space {space}; expected two choices or more in every dimension.")
        self.spec = ActionSpec(num_choices=tuple(int(count) for count in counts))
        self._counts, self._starts, self._dtype = counts, starts, space.dtype
        self._scalar = isinstance(space, spaces.Discrete)

    def execute(self, action: np.ndarray) -> Any:
        """What the environment takes for (A,) float32 indices."""
        chosen = (action.astype(np.int64) + self._starts).astype(self._dtype)
        return chosen[0] if self._scalar else chosen

    def sample(self, generator: np.random.Generator) -> np.ndarray:
        """(A,) float32 indices, uniform."""
        return generator.integers(self._counts).astype(np.float32)


class Vector:
    """Continuous dimensions (A,), with bounds or without."""

    def __init__(self, space: spaces.Box) -> None:
        self.spec = ActionSpec(num_continuous=space.shape[0])
        self._space = space

    def execute(self, action: np.ndarray) -> np.ndarray:
        """(A,) clipped to the bounds."""
        return np.clip(action.astype(self._space.dtype), self._space.low, self._space.high)

    def sample(self, generator: np.random.Generator) -> np.ndarray:
        """(A,) float32: uniform between two bounds, exponential from a single one (Gymnasium's rule), else normal."""
        low, high = self._space.low.astype(np.float64), self._space.high.astype(np.float64)
        below, above = np.isfinite(low), np.isfinite(high)
        low, high = np.where(below, low, 0.0), np.where(above, high, 0.0)
        # Every draw is made for every dimension, so that the stream does not depend on the bounds.
        share, far, free = (
            generator.random(len(low)),
            generator.exponential(size=len(low)),
            generator.normal(size=len(low)),
        )
        one_sided = np.where(below, low + far, high - far)
        drawn = np.where(below & above, low + share * (high - low), np.where(below | above, one_sided, free))
        return drawn.astype(np.float32)

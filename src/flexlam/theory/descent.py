"""The same objectives minimised by gradient descent over A, B, C and D: the closed forms' gradient-trained twins.

Gradients are analytic, over the population. The optimiser is L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 3.1).
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from flexlam.core.errors import TrainingError
from flexlam.theory.closed_form import LinearLAM, check_latent_dim
from flexlam.theory.maps import coefficients, row_space
from flexlam.theory.objectives import Regression
from flexlam.theory.prefixes import PrefixWeights, full_code

_MEMORY = 20  # pairs of steps and gradients that approximate the curvature
_PATIENCE = 100  # steps over which the loss has to fall


@dataclass(frozen=True)
class Descent:
    """What training came to."""

    lam: LinearLAM
    objective: float
    """E||y − A c − B z||² at the end, over the prefix lengths where there are several."""
    num_steps: int


class _Loss:
    """The population loss of (A, B, N), flattened, and its gradient."""

    def __init__(self, regression: Regression, weights: PrefixWeights) -> None:
        y, c, w = regression.target, regression.context, regression.inputs
        self.yy, self.yc, self.yw = float(np.sum(y**2)), y @ c.T, y @ w.T
        self.cc, self.cw, self.ww = c @ c.T, c @ w.T, w @ w.T
        self.single, self.pairs = weights.single[:, None], weights.pairs
        dim = len(weights.single)
        self.shapes = ((len(y), len(c)), (len(y), dim), (dim, len(w)))

    def parts(self, flat: np.ndarray) -> list[np.ndarray]:
        sizes = np.cumsum([rows * columns for rows, columns in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, sizes), self.shapes, strict=True)]

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        context, decoder, encoder = self.parts(flat)
        explained = context @ self.cc
        by_input = self.yw - context @ self.cw  # Cov(y − A c, w)
        latent = encoder @ self.ww
        second = self.pairs * (latent @ encoder.T)
        kept = self.single * encoder  # E over k of the encoder's rows that are kept
        value = (
            self.yy
            + np.sum(context * (explained - 2 * self.yc))
            - 2 * np.sum((decoder.T @ by_input) * kept)
            + np.sum((decoder.T @ decoder) * second)
        )
        gradient = (
            2 * (explained - self.yc + decoder @ kept @ self.cw.T),
            2 * (decoder @ second - by_input @ kept.T),
            2 * ((self.pairs * (decoder.T @ decoder)) @ latent - self.single * (decoder.T @ by_input)),
        )
        return float(value), np.concatenate([part.ravel() for part in gradient])


def descend(
    regression: Regression,
    latent_dim: int,
    generator: np.random.Generator,
    weights: PrefixWeights | None = None,
    max_steps: int = 10_000,
    tolerance: float = 1e-7,
) -> Descent:
    """Train A, B, C and D from a random start until a hundred steps lower the loss by less than `tolerance` of itself.

    The steps are taken in white coordinates of the context and of (o, o'), where descent is well conditioned.
    With `weights` the loss is averaged over prefix lengths (nested dropout); by default the whole code is kept.

    Raises:
        ConfigError: see `check_latent_dim`.
        TrainingError: max_steps were not enough.
    """
    check_latent_dim(regression, latent_dim)
    context, inputs = row_space(regression.context), row_space(regression.inputs)
    loss = _Loss(Regression(regression.target, context, inputs), weights or full_code(latent_dim))
    start = [generator.standard_normal(shape) / np.sqrt(shape[1]) for shape in loss.shapes[1:]]
    flat = np.concatenate([np.zeros(loss.shapes[0]).ravel(), *(part.ravel() for part in start)])
    value, gradient = loss(flat)
    past: deque[float] = deque([value], maxlen=_PATIENCE)
    history: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=_MEMORY)
    for step in range(max_steps):
        moved = _line_search(loss, flat, value, gradient, _direction(gradient, history))
        if moved is None or (len(past) == _PATIENCE and past[0] - value <= tolerance * value):
            a, b, n = loss.parts(flat)
            to_context, to_inputs = coefficients(context, regression.context), coefficients(inputs, regression.inputs)
            return Descent(LinearLAM(a @ to_context, b, n @ to_inputs), value, step)
        there, value, slope = moved
        change, turn = there - flat, slope - gradient
        if change @ turn > 0:
            history.append((change, turn))
        flat, gradient = there, slope
        past.append(value)
    raise TrainingError(
        f"The loss still falls after {max_steps} steps, by {1 - value / past[0]:.2g} of itself in the last {len(past)}."
        " Give more max_steps or a larger tolerance."
    )


def _direction(gradient: np.ndarray, history: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """−H g with the curvature that past steps have shown; the unit step along the gradient at first."""
    if not history:
        return -gradient / np.linalg.norm(gradient)
    direction, weights = -gradient, []
    for change, turn in reversed(history):
        weight = (change @ direction) / (change @ turn)
        weights.append(weight)
        direction = direction - weight * turn
    change, turn = history[-1]
    direction = direction * (change @ turn) / (turn @ turn)
    for (change, turn), weight in zip(history, reversed(weights), strict=True):
        direction = direction + (weight - (turn @ direction) / (change @ turn)) * change
    return direction


def _line_search(
    loss: _Loss, flat: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The first halving of the step that lowers the loss enough (Armijo); None where rounding hides any progress."""
    slope = float(gradient @ direction)
    if slope >= 0:
        direction, slope = -gradient, -float(gradient @ gradient)
    size = 1.0
    while size > 1e-12:
        there = flat + size * direction
        new, new_gradient = loss(there)
        if new <= value + 1e-4 * size * slope:
            return there, new, new_gradient
        size /= 2
    return None

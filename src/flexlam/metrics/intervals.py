"""How sure a mean is: standard errors, paired differences, Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flexlam.core.errors import DataError


@dataclass(frozen=True)
class Estimate:
    """A mean and how far it may be off."""

    mean: float
    stderr: float
    """Standard error of the mean; NaN for a single value."""
    num_values: int

    @property
    def in_stderrs(self) -> float:
        """The mean in standard errors (t ratio); NaN where both are zero."""
        if self.stderr == 0:
            return math.copysign(math.inf, self.mean) if self.mean else math.nan
        return self.mean / self.stderr

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Bounds of the two-sided confidence interval by Student's t; NaN for a single value.

        Raises:
            DataError: the confidence does not lie between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise DataError(f"confidence is {confidence:g}; expected a number between 0 and 1, such as 0.95.")
        if self.num_values < 2:
            return math.nan, math.nan
        half = student_t_quantile((1 + confidence) / 2, self.num_values - 1) * self.stderr
        return self.mean - half, self.mean + half


def estimate(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean and standard error of independent values.

    Raises:
        DataError: no values, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise DataError(f"Expected a list of finite numbers to average; got {array.tolist()!r:.200}.")
    count = array.size
    stderr = float(array.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return Estimate(float(array.mean()), stderr, count)


def paired_difference(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Estimate:
    """Estimate of a − b over pairs that share their draw (a seed, a label set), whose common part cancels.

    Raises:
        DataError: different numbers of values, none, or one that is not finite.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError(f"Values are compared in pairs; got {a.size} and {b.size}. Give both for the same draws.")
    return estimate(a - b)


def share_stderr(share: float, count: int) -> float:
    """Standard error of a share of `count` trials, as if one more had been right and one more wrong (Laplace).

    A few that are all right prove little, and would have no error otherwise.
    """
    likely = (share * count + 1) / (count + 2)
    return math.sqrt(likely * (1 - likely) / (count + 2))


def student_t_cdf(t: float, degrees: int) -> float:
    """Probability that Student's t lies below `t`, by the finite series for whole degrees of freedom.

    Source: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.

    Raises:
        DataError: fewer than one degree of freedom.
    """
    if degrees < 1 or degrees != int(degrees):
        raise DataError(f"degrees of freedom are {degrees}; expected a whole number from 1 on.")
    angle = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(angle), degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    within = math.sin(angle) * total  # probability of −|t| to |t|, signed
    if odd:
        within = 2 / math.pi * (angle + within)
    return 0.5 + 0.5 * within


def student_t_quantile(probability: float, degrees: int) -> float:
    """The t below which Student's t lies with a given probability.

    Raises:
        DataError: the probability does not lie between 0 and 1, or fewer than one degree of freedom.
    """
    if not 0 < probability < 1:
        raise DataError(f"probability is {probability:g}; expected a number between 0 and 1.")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    low, high = 0.0, 1.0
    while student_t_cdf(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        if student_t_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2

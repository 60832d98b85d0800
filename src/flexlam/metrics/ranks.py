"""Do two lists of numbers put things in the same order?"""

from collections.abc import Sequence

import numpy as np


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Correlation of the ranks; ties take their mean rank, and of constant values it is 0."""
    one, other = _ranks(a), _ranks(b)
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    return ((array[:, None] > array).sum(1) + (array[:, None] >= array).sum(1) + 1) / 2

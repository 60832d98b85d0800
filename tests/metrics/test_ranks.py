import numpy as np
import pytest

from flexlam.metrics.ranks import spearman


def test_spearmans_correlation_is_that_of_ranks() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # By hand: ranks (1.5, 1.5, 3, 4) and (2, 1, 4, 3).
    assert spearman([5, 5, 6, 9], [0.2, 0.1, 0.9, 0.8]) == pytest.approx(3.5 / np.sqrt(4.5 * 5.0))
    assert spearman([1, 1, 1], [1, 2, 3]) == 0

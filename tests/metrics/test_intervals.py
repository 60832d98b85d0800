import math

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.metrics.intervals import (
    Estimate,
    estimate,
    paired_difference,
    share_stderr,
    student_t_cdf,
    student_t_quantile,
)


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [  # printed tables of Student's t
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 4, 2.7764),
        (0.975, 7, 2.3646),
        (0.975, 9, 2.2622),
        (0.975, 30, 2.0423),
        (0.975, 120, 1.9799),
        (0.95, 5, 2.0150),
        (0.995, 3, 5.8409),
        (0.9995, 10, 4.5869),
    ],
)
def test_quantiles_of_the_printed_tables(probability: float, degrees: int, expected: float) -> None:
    assert student_t_quantile(probability, degrees) == pytest.approx(expected, abs=6e-5)
    assert student_t_quantile(1 - probability, degrees) == pytest.approx(-expected, abs=6e-5)


def test_quantile_tends_to_the_normal() -> None:
    z = 1.959964
    assert student_t_quantile(0.975, 10_001) == pytest.approx(z + (z**3 + z) / (4 * 10_001), abs=2e-6)


@pytest.mark.parametrize("degrees", [1, 2, 3, 8, 25])
def test_cdf_agrees_with_simulation_and_with_its_inverse(degrees: int) -> None:
    draws = np.random.default_rng(degrees).standard_t(degrees, 200_000)
    for t in (-2.5, -0.3, 0.0, 1.0, 3.0):
        assert student_t_cdf(t, degrees) == pytest.approx(float((draws < t).mean()), abs=5e-3)
        assert student_t_quantile(student_t_cdf(t, degrees), degrees) == pytest.approx(t, abs=1e-9)


def test_estimate_by_hand() -> None:
    got = estimate([1.0, 2.0, 3.0, 6.0])
    assert (got.mean, got.num_values) == (3.0, 4)
    assert got.stderr == pytest.approx(math.sqrt(14 / 3) / 2)
    low, high = got.interval()
    assert high - 3 == pytest.approx(3.1824 * got.stderr, abs=1e-4)
    assert low + high == pytest.approx(6)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for sample in rng.normal(2.0, 3.0, (1000, 5)):
        low, high = estimate(sample).interval(0.9)
        inside += low <= 2.0 <= high
    assert inside / 1000 == pytest.approx(0.9, abs=0.03)


def test_pairing_removes_what_is_common() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(0, 10, 8)
    a, b = common + rng.normal(0.5, 0.1, 8), common
    difference = paired_difference(a, b)
    assert difference.in_stderrs > 3
    unpaired = (np.mean(a) - np.mean(b)) / math.hypot(estimate(a).stderr, estimate(b).stderr)
    assert abs(unpaired) < 1
    assert paired_difference(b, a).mean == pytest.approx(-difference.mean)


def test_a_single_value_has_no_interval() -> None:
    got = estimate([4.0])
    assert got.mean == 4.0
    assert math.isnan(got.stderr)
    assert all(math.isnan(bound) for bound in got.interval())


def test_ratio_of_certain_differences() -> None:
    assert Estimate(-1.0, 0.0, 3).in_stderrs == -math.inf
    assert math.isnan(Estimate(0.0, 0.0, 3).in_stderrs)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf], np.ones((2, 1))])
def test_bad_values_are_refused(values: list[float] | np.ndarray) -> None:
    with pytest.raises(DataError, match="finite numbers"):
        estimate(values)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(DataError, match="same draws"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="confidence"):
        estimate([1.0, 2.0]).interval(95)
    with pytest.raises(DataError, match="probability"):
        student_t_quantile(1.0, 3)
    with pytest.raises(DataError, match="degrees"):
        student_t_cdf(0.0, 0)


def test_a_share_has_an_error_even_if_all_are_right() -> None:
    assert share_stderr(1.0, 4) == pytest.approx(math.sqrt(5 / 6 * 1 / 6 / 6))
    assert share_stderr(0.5, 10_000) == pytest.approx(0.005, rel=1e-3)

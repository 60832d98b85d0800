"""Verdicts follow from the figures by rules that were set beforehand."""

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.study.claims import Effect, above, below, holm, non_inferior, paired_effect


def effect(values: list[float]) -> Effect:
    return paired_effect({seed: [value] for seed, value in enumerate(values)}, {seed: [0.0] for seed in range(9)})


def test_draws_are_averaged_inside_a_seed_and_seeds_are_the_unit() -> None:
    ours = {0: [1.0, 3.0], 1: [2.0, 2.0], 2: [5.0, 5.0], 7: [0.0, 0.0]}
    theirs = {0: [0.0, 1.0], 1: [1.0, 1.0], 2: [1.0, 2.0]}
    found = paired_effect(ours, theirs)
    assert found.per_seed == (1.5, 1.0, 3.5) and found.num_draws == 2, "seed 7 has no partner"
    half = 4.302653 * np.std([1.5, 1.0, 3.5], ddof=1) / 3**0.5  # the tabulated quantile of two degrees of freedom
    assert found.ci95 == pytest.approx((2 - half, 2 + half))


def test_p_values_are_those_of_the_t_test() -> None:
    values = [0.3, -0.1, 0.4, 0.2, 0.1]
    mean, stderr = np.mean(values), np.std(values, ddof=1) / 5**0.5
    for t, p in ((2.131847, 0.05), (2.776445, 0.025), (0.0, 0.5)):  # tabulated, four degrees of freedom
        assert effect(values).p_above(mean - t * stderr) == pytest.approx(p, abs=1e-6)
        assert effect(values).p_below(mean + t * stderr) == pytest.approx(p, abs=1e-6)
    assert effect(values).p_above(0.05) + effect(values).p_below(0.05) == pytest.approx(1)


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(DataError, match="no LAM seed"):
        paired_effect({0: [1.0]}, {1: [1.0]})
    with pytest.raises(DataError, match="seed 0 has 2 and 1"):
        paired_effect({0: [1.0, 2.0]}, {0: [1.0]})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([-0.3, -0.2, -0.25, -0.3, -0.2], "supported"),
        ([0.3, 0.2, 0.25, 0.3, 0.2], "contradicted"),
        ([-0.3, 0.2, 0.1, -0.3, 0.2], "inconclusive"),
        ([-0.3, -0.2, -0.25, -0.3], "supported"),  # four seeds, but eleven standard errors
        ([-0.3, -0.1, -0.2, -0.3], "inconclusive"),  # clear by the interval, too few seeds
        ([-0.300, -0.301], "inconclusive"),  # two seeds are never enough
        ([-0.3], "inconclusive"),
    ],
)
def test_a_one_sided_claim(values: list[float], verdict: str) -> None:
    assert below("id", "lower", effect(values)).verdict == verdict
    mirrored = above("id", "higher", effect([-value for value in values]))
    assert mirrored.verdict == verdict
    assert ("of the 5 seeds needed" in mirrored.reason) == (verdict == "inconclusive" and len(values) < 5)
    assert ("holds 0" in mirrored.reason) == (verdict == "inconclusive" and len(values) == 5)
    assert mirrored.effect == pytest.approx(-np.mean(values))


def test_a_verdict_of_five_seeds_is_that_of_the_95_percent_interval() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = generator.normal(-0.1, 0.1, 5).tolist()
        claim = below("id", "lower", effect(values))
        assert claim.ci95 is not None
        low, high = claim.ci95
        assert claim.verdict == ("supported" if high < 0 else "contradicted" if low > 0 else "inconclusive")


def test_not_inferior_means_in_every_cell() -> None:
    fine, better, worse = (effect([x + 0.001 * i for i in range(5)]) for x in (0.0, -0.1, 0.1))
    wide = effect([0.1, -0.1, 0.1, -0.1, 0.0])
    assert non_inferior("id", "s", {"a": fine, "b": better}, 0.02).verdict == "supported"
    assert non_inferior("id", "s", {"a": fine, "b": wide}, 0.02).verdict == "inconclusive"
    claim = non_inferior("id", "s", {"a": fine, "b": worse, "c": wide}, 0.02)
    assert claim.verdict == "contradicted"
    assert {name: cell["worse"] for name, cell in claim.cells.items()} == {"a": False, "b": True, "c": False}
    assert {name: cell["non_inferior"] for name, cell in claim.cells.items()} == {"a": True, "b": False, "c": False}
    assert claim.effect == pytest.approx(0.0, abs=0.01) and claim.reason.endswith("cell: c"), "by its upper bound"


def test_a_cell_that_is_bad_among_many_by_chance_does_not_contradict() -> None:
    bad = effect([0.08, 0.02, 0.07, 0.025, 0.055])
    assert 0.025 < bad.p_above(0.02) < 0.05
    assert non_inferior("id", "s", {"a": bad}, 0.02).verdict == "contradicted"
    others = {str(number): effect([-0.001 * i for i in range(5)]) for number in range(9)}
    assert non_inferior("id", "s", {"a": bad, **others}, 0.02).verdict == "inconclusive"


def test_holm_stops_at_the_first_that_stands() -> None:
    assert holm({"a": 0.001, "b": 0.02, "c": 0.03, "d": 0.2}) == {"a": True, "b": False, "c": False, "d": False}
    assert holm({"a": 0.01, "b": 0.02, "c": 0.04}) == {"a": True, "b": True, "c": True}
    assert holm({}) == {}


def test_chance_is_called_a_finding_as_rarely_as_promised() -> None:
    generator = np.random.default_rng(1)
    verdicts = [below("id", "s", effect(generator.normal(0, 1, 5).tolist())).verdict for _ in range(2000)]
    assert verdicts.count("supported") < 0.04 * len(verdicts)
    assert verdicts.count("contradicted") < 0.04 * len(verdicts)

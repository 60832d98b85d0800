"""Verdicts on claims, computed: the LAM seed is the unit, draws are averaged inside it, differences are paired."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from flexlam.core.errors import DataError
from flexlam.metrics.intervals import estimate, student_t_cdf

Verdict = Literal["supported", "contradicted", "inconclusive"]

MIN_SEEDS = 5
"""With fewer a claim is inconclusive, unless its effect is large."""
LARGE = 8.0
"""An effect of that many standard errors (over three seeds or more) is large."""
LEVEL = 0.05


@dataclass(frozen=True)
class Effect:
    """A difference over seeds: what is claimed is that it lies above (or below) a bound."""

    mean: float
    ci95: tuple[float, float] | None
    """Two-sided 95 % interval by Student's t over seeds; None for a single seed."""
    per_seed: tuple[float, ...]
    num_draws: int
    """Label draws (or episodes) that were averaged inside each seed."""

    def p_above(self, bound: float) -> float:
        """One-sided p-value against "the effect lies at or below the bound"."""
        return _p_positive(np.array(self.per_seed) - bound)

    def p_below(self, bound: float) -> float:
        """One-sided p-value against "the effect lies at or above the bound"."""
        return _p_positive(bound - np.array(self.per_seed))

    @property
    def upper(self) -> float:
        """Upper bound of the interval; the effect itself where there is none."""
        return self.mean if self.ci95 is None else self.ci95[1]

    @property
    def enough(self) -> bool:
        """Whether there are seeds enough for a verdict."""
        found = estimate(self.per_seed)
        if found.num_values >= MIN_SEEDS:
            return True
        return found.num_values >= 3 and abs(found.in_stderrs) >= LARGE


@dataclass(frozen=True)
class Claim:
    """One statement and what the measurements say of it."""

    id: str
    statement: str
    verdict: Verdict
    effect: float
    ci95: tuple[float, float] | None
    seeds: int
    draws: int
    unit: str
    reason: str
    """What stands in the way of a verdict, or which cell speaks for all."""
    cells: dict[str, dict[str, Any]]
    """The effect in each cell, where the claim is about several."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return asdict(self)


def paired_effect(a: Mapping[int, Sequence[float]], b: Mapping[int, Sequence[float]]) -> Effect:
    """a − b: seed -> values of the same draws in both. Only seeds that both have count.

    Raises:
        DataError: no seed in common, or other numbers of draws for the two.
    """
    differences = {}
    for seed in sorted(a.keys() & b.keys()):
        one, other = np.asarray(a[seed], np.float64), np.asarray(b[seed], np.float64)
        if one.shape != other.shape or not one.size:
            raise DataError(f"Draws are compared in pairs; seed {seed} has {one.size} and {other.size} of them.")
        differences[seed] = (one - other).tolist()
    return mean_effect(differences)


def mean_effect(values: Mapping[int, Sequence[float]]) -> Effect:
    """The mean over seeds of the mean of each seed's values.

    Raises:
        DataError: no seed.
    """
    if not values:
        raise DataError("There is no LAM seed for which both sides were measured.")
    per_seed = tuple(float(np.mean(values[seed])) for seed in sorted(values))
    found = estimate(per_seed)
    interval = found.interval() if len(per_seed) > 1 else None
    return Effect(found.mean, interval, per_seed, min(map(len, values.values())))


def non_inferior(id: str, statement: str, cells: Mapping[str, Effect], margin: float, unit: str = "nats") -> Claim:
    """Lower is better: in every cell the upper bound of (ours − theirs) lies at or under the margin.

    Supported only if each cell is (so no correction for their number is due); contradicted if one cell lies above the
    margin after Holm's correction.
    """
    p_worse = {name: effect.p_above(margin) for name, effect in cells.items()}
    worse = holm(p_worse)
    fine = {name: effect.p_below(margin) <= LEVEL / 2 for name, effect in cells.items()}  # the 95 % interval's bound
    enough = all(effect.enough for effect in cells.values())
    verdict: Verdict = "inconclusive"
    if any(worse[name] and cells[name].enough for name in cells):
        verdict = "contradicted"
    elif enough and all(fine.values()):
        verdict = "supported"
    name = max(cells, key=lambda name: cells[name].upper)
    worst, reason = cells[name], f"the least favourable cell: {name}"
    if not enough and verdict == "inconclusive":
        reason += f"; {_too_few(worst)}"
    described = {
        name: {**_describe(effect), "non_inferior": fine[name], "worse": worse[name]} for name, effect in cells.items()
    }
    return Claim(
        id, statement, verdict, worst.mean, worst.ci95, _seeds(worst), worst.num_draws, unit, reason, described
    )


def below(id: str, statement: str, effect: Effect, bound: float = 0.0, unit: str = "nats") -> Claim:
    """The effect lies below a bound: supported or contradicted where the 95 % interval excludes it."""
    return _one_sided(id, statement, effect, bound, unit, effect.p_below(bound), effect.p_above(bound))


def above(id: str, statement: str, effect: Effect, bound: float = 0.0, unit: str = "nats") -> Claim:
    """The effect lies above a bound; see `below`."""
    return _one_sided(id, statement, effect, bound, unit, effect.p_above(bound), effect.p_below(bound))


def _one_sided(
    id: str, statement: str, effect: Effect, bound: float, unit: str, p_for: float, p_against: float
) -> Claim:
    verdict: Verdict = "inconclusive"
    if effect.enough and p_for <= LEVEL / 2:
        verdict = "supported"
    elif effect.enough and p_against <= LEVEL / 2:
        verdict = "contradicted"
    reason = ""
    if verdict == "inconclusive":
        reason = f"the interval holds {bound:g}" if effect.enough else _too_few(effect)
    return Claim(id, statement, verdict, effect.mean, effect.ci95, _seeds(effect), effect.num_draws, unit, reason, {})


def holm(p_values: Mapping[str, float], level: float = LEVEL) -> dict[str, bool]:
    """Which hypotheses are rejected at a family-wise level (Holm 1979)."""
    rejected = dict.fromkeys(p_values, False)
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > level / (len(p_values) - rank):
            break
        rejected[name] = True
    return rejected


def _too_few(effect: Effect) -> str:
    return f"{_seeds(effect)} of the {MIN_SEEDS} seeds needed"


def _p_positive(values: np.ndarray) -> float:
    """One-sided p-value against "the mean lies at or below 0"; 1 of a single value."""
    found = estimate(values)
    if found.num_values < 2:
        return 1.0
    if found.stderr == 0:
        return 0.0 if found.mean > 0 else 1.0
    return 1 - student_t_cdf(found.in_stderrs, found.num_values - 1)


def _describe(effect: Effect) -> dict[str, Any]:
    return {"effect": effect.mean, "ci95": effect.ci95, "per_seed": list(effect.per_seed)}


def _seeds(effect: Effect) -> int:
    return len(effect.per_seed)

"""FlexLAM at prefix length k beside Fixed-K models trained for that k alone (FlexLAM Figs. 1 and 3)."""

from matplotlib.axes import Axes

from flexlam.metrics.intervals import estimate
from flexlam.report.table import Table, with_stderr
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, Effect, above, below, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import curves, logarithmic, panels
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.methods import (
    DECAY,
    DROPOUT,
    FIXED,
    FIXED_ENSEMBLE,
    FIXED_OURS,
    FLEX,
    FLEX_DECAY,
    OURS,
    OURS_SUMMED,
    PREVIOUS,
    SUMMED,
    compared,
    fixed,
    fixed_fits,
    flex,
    flex_fits,
    ours,
    summed,
)
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, floors_step, translators_step
from flexlam.study.pieces.models import lam_step
from flexlam.training.lam import LamRunConfig

_PAIRS = (
    (FLEX, FIXED),
    (SUMMED, FIXED),
    (FLEX, DROPOUT),
    (FLEX_DECAY, DECAY),
    (OURS, FIXED),
    (OURS, FIXED_OURS),
    (OURS, FIXED_ENSEMBLE),
    (OURS_SUMMED, FIXED),
)
"""Who is compared with whom; the first is the paper's claim, those with OURS are about our variant."""


def steps(config: StudyConfig) -> list[Step]:
    """Eleven ways to fit on four kinds of models; every model but the summed one costs the same arithmetic."""
    data, ks = data_step(config), config.prefix_lengths
    wanted: list[Step] = []
    models: list[tuple[str, LamRunConfig, dict[str, Fits]]] = [
        (FLEX, flex(config), flex_fits(config, ks)),
        (SUMMED, summed(config), {SUMMED: Fits(config.translator, ks), OURS_SUMMED: Fits(config.ours.translator, ks)}),
        (OURS, ours(config), {OURS: Fits(config.ours.translator, ks)}),
        *((FIXED, fixed(config, k), fixed_fits(config, k)) for k in ks),
    ]
    for seed in config.seeds:
        wanted.append(floors_step(data, config, seed, {"method": PREVIOUS, "seed": seed}))
        for kind, run, fits in models:
            lam = lam_step(data, run, seed, {"method": kind, "seed": seed})
            for method, of_method in fits.items():
                wanted.append(translators_step(data, lam, config, of_method, seed, {"method": method, "seed": seed}))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Claims of the paper, those against the controls, and those of our variant; of no seed, no claims."""
    claims = _claims(config, found) if found else []
    tables = {
        "Test loss of the translator, nats: mean over LAM seeds ± standard error": _table(config, found),
        "CPU-seconds of training, mean over LAM seeds": _costs(found),
    }
    return Outcome(claims, tables, {"tradeoff.svg": _figure(config, found)} if claims else {})


def _claims(config: StudyConfig, found: Found) -> list[Claim]:
    ks, counts = config.prefix_lengths, config.label_counts
    low, high, few, many = min(ks), max(ks), min(counts), max(counts)

    def losses(method: str, k: int, count: int) -> Values:
        return found.values("action_loss", method=method, k=k, labels=count)

    def gap(k: int, count: int, one: str = FLEX, other: str = FIXED) -> Effect:
        return paired_effect(losses(one, k, count), losses(other, k, count))

    claims = []
    for one, other in _PAIRS:
        key, mark = compared(one, other)
        claims.append(
            non_inferior(
                f"non-inferior{key}",
                f"FlexLAM@k is behind Fixed-K at K = k by at most {config.margin:g} nats in every (k, N) cell{mark}",
                {f"k={k} N={count}": gap(k, count, one, other) for k in ks for count in counts},
                config.margin,
            )
        )
        claims.append(
            below(
                f"superior-loose-few{key}",
                f"at K = {high} and N = {few} FlexLAM's loss is below Fixed-K's{mark}",
                gap(high, few, one, other),
            )
        )
    claims.append(
        above(
            "loose-fragile",
            f"Fixed-K at K = {high} loses more than at K = {low} with N = {few} labels",
            paired_effect(losses(FIXED, high, few), losses(FIXED, low, few)),
        )
    )
    claims.append(
        above(
            "tight-limited",
            f"Fixed-K at K = {low} loses more than at K = {high} with N = {many} labels",
            paired_effect(losses(FIXED, low, many), losses(FIXED, high, many)),
        )
    )
    claims.append(
        below(
            "dropout-explains",
            f"the same prefix dropout lowers the loss of Fixed-K at K = {high} with N = {few} labels, too",
            gap(high, few, DROPOUT, FIXED),
        )
    )
    return claims


def _table(config: StudyConfig, found: Found) -> Table:
    header = ("method", *(f"N = {count}" for count in config.label_counts))

    def row(name: str, method: str, **where: int) -> tuple[str, ...]:
        cells = (found.cell("action_loss", method=method, labels=count, **where) for count in config.label_counts)
        return name, *cells

    methods = (FLEX, SUMMED, FLEX_DECAY, OURS, OURS_SUMMED, FIXED, DROPOUT, DECAY, FIXED_OURS, FIXED_ENSEMBLE)
    groups = [tuple(row(f"{method}, k = {k}", method, k=k) for method in methods) for k in config.prefix_lengths]
    everything = found.cell("action_loss", method=PREVIOUS, labels="all")
    rest = ("",) * (len(header) - 2)
    floors = (row("previous action, same labels", PREVIOUS), ("previous action, all labels", everything, *rest))
    return Table(header, (*groups, floors))


def _figure(config: StudyConfig, found: Found) -> str:
    ks, counts = config.prefix_lengths, config.label_counts

    def draw(axes: Axes, number: int) -> None:
        series = {
            method: [found.of_seeds("action_loss", method=method, k=ks[number], labels=count) for count in counts]
            for method in (FLEX, OURS, FIXED, DROPOUT, FIXED_OURS, FIXED_ENSEMBLE)
        }
        curves(axes, counts, {method: values for method, values in series.items() if all(values)})
        logarithmic(axes, counts)

    return panels([f"k = {k}" for k in ks], draw, "labels N", "test loss of the translator, nats")


def _costs(found: Found) -> Table:
    seconds: dict[tuple[str, int | None], list[float]] = {}
    for entry in found.measured:
        if entry.training_seconds and entry.about["method"] in (FLEX, SUMMED, FIXED):
            k = entry.rows[0]["k"] if entry.about["method"] == FIXED else None
            seconds.setdefault((entry.about["method"], k), []).append(entry.training_seconds)
    rows = tuple(
        (method if k is None else f"{method}, K = {k}", with_stderr(mean.mean, mean.stderr, 0))
        for (method, k), values in seconds.items()
        for mean in (estimate(values),)
    )
    return Table(("model", "CPU-seconds"), (rows,))


def study() -> Study:
    """Does one FlexLAM hold up beside Fixed-K models at every prefix length and label budget?"""
    return Study(steps, conclude)

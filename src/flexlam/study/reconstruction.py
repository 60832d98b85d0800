"""How well prefixes decode: FlexLAM at every k beside Fixed-K models (FlexLAM Fig. 11)."""

from matplotlib.axes import Axes

from flexlam.evaluate.reconstruction import ReconstructionConfig
from flexlam.metrics.intervals import estimate
from flexlam.report.table import Table, with_stderr
from flexlam.study.base import Measured, Outcome, Study
from flexlam.study.claims import above, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import curves, panels
from flexlam.study.graph import Step
from flexlam.study.pieces import data_step, lam_step, reconstruction_step
from flexlam.study.tradeoff import FIXED, FLEX, models

MARGIN = 0.2
"""Decibels by which a prefix may decode worse than a model trained for it alone."""

Values = dict[int, list[float]]
"""LAM seed -> its one value."""


def steps(config: StudyConfig) -> list[Step]:
    """FlexLAM and the Fixed-K models of `tradeoff`, decoded."""
    data, wanted = data_step(config), []
    chosen = [(kind, run) for kind, run in models(config) if kind in (FLEX, FIXED)]
    for seed in config.seeds:
        for kind, run in chosen:
            about = {"method": kind, "seed": seed}
            lengths = (0, *config.prefix_lengths) if kind == FLEX else (run.lam.num_slots,)
            decoded = ReconstructionConfig(prefix_lengths=lengths)
            wanted.append(reconstruction_step(data, lam_step(data, run, seed, about), decoded, about))
    return wanted


def conclude(config: StudyConfig, measured: list[Measured]) -> Outcome:
    """Whether more slots decode better, and what one model for all of them costs."""

    def values(method: str, k: int, name: str = "psnr") -> Values:
        return {
            entry.about["seed"]: [row[name]]
            for entry in measured
            for row in entry.rows
            if entry.about["method"] == method and row["k"] == k
        }

    low, high = min(config.prefix_lengths), max(config.prefix_lengths)
    cells = [(FLEX, k) for k in (0, *config.prefix_lengths)] + [(FIXED, k) for k in config.prefix_lengths]
    rows = tuple(
        (f"{method}, k = {k}", *(_cell(values(method, k, name), digits) for name, digits in (("psnr", 2), ("ssim", 3))))
        for method, k in cells
    )
    tables = {
        "Decoded test transitions, mean over LAM seeds ± standard error": Table(("model", "PSNR, dB", "SSIM"), (rows,))
    }
    if not measured:
        return Outcome([], tables, {})
    losses = {f"k={k}": paired_effect(values(FIXED, k), values(FLEX, k)) for k in config.prefix_lengths}
    claims = [
        above(
            "prefixes-carry",
            f"FlexLAM decodes better from {low} slot(s) than from none",
            paired_effect(values(FLEX, low), values(FLEX, 0)),
            unit="dB",
        ),
        above(
            "more-is-better",
            f"FlexLAM decodes better from {high} slots than from {low}",
            paired_effect(values(FLEX, high), values(FLEX, low)),
            unit="dB",
        ),
        non_inferior(
            "decodes-as-fixed",
            f"FlexLAM@k decodes at most {MARGIN:g} dB worse than Fixed-K at every k",
            losses,
            MARGIN,
            unit="dB",
        ),
    ]

    def draw(axes: Axes, number: int) -> None:
        ks = config.prefix_lengths
        series = {method: [_numbers(values(method, k)) for k in ks] for method in (FLEX, FIXED)}
        curves(axes, [float(place) for place in range(len(ks))], series)
        axes.set_xticks(range(len(ks)), [str(k) for k in ks])

    figure = panels(["decoded next frame"], draw, "retained slots k", "PSNR, dB", width=3.6)
    return Outcome(claims, tables, {"reconstruction.svg": figure})


def _numbers(values: Values) -> list[float]:
    return [value for (value,) in values.values()]


def _cell(values: Values, digits: int) -> str:
    if not values:
        return "–"
    found = estimate(_numbers(values))
    return with_stderr(found.mean, found.stderr, digits)


def study() -> Study:
    """How well do prefixes decode beside models trained for their length alone?"""
    return Study(steps, conclude)

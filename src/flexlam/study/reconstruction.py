"""How well prefixes decode: FlexLAM at every k beside Fixed-K models (FlexLAM Fig. 11)."""

from matplotlib.axes import Axes

from flexlam.evaluate.reconstruction import ReconstructionConfig
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, above, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import curves, panels
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.methods import FIXED, FLEX, fixed, flex
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.decoding import reconstruction_step
from flexlam.study.pieces.models import lam_step

MARGIN = 0.2
"""Decibels by which a prefix may decode worse than a model trained for it alone."""


def steps(config: StudyConfig) -> list[Step]:
    """FlexLAM and the Fixed-K models of `tradeoff`, decoded."""
    data, wanted = data_step(config), []
    models = [(FLEX, flex(config), (0, *config.prefix_lengths))]
    models += [(FIXED, fixed(config, k), (k,)) for k in config.prefix_lengths]
    for seed in config.seeds:
        for method, run, lengths in models:
            about = {"method": method, "seed": seed}
            decoded = ReconstructionConfig(prefix_lengths=lengths)
            wanted.append(reconstruction_step(data, lam_step(data, run, seed, about), decoded, about))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Whether more slots decode better, and what one model for all of them costs."""
    cells = [(FLEX, k) for k in (0, *config.prefix_lengths)] + [(FIXED, k) for k in config.prefix_lengths]
    rows = tuple(
        (
            f"{method}, k = {k}",
            found.cell("psnr", 2, method=method, k=k),
            found.cell("ssim", 3, method=method, k=k),
        )
        for method, k in cells
    )
    title = "Decoded test transitions, mean over LAM seeds ± standard error"
    tables = {title: Table(("model", "PSNR, dB", "SSIM"), (rows,))}
    return (
        Outcome(_claims(config, found), tables, {"reconstruction.svg": _figure(config, found)})
        if found
        else Outcome([], tables, {})
    )


def _claims(config: StudyConfig, found: Found) -> list[Claim]:
    low, high = min(config.prefix_lengths), max(config.prefix_lengths)

    def psnr(method: str, k: int) -> Values:
        return found.values("psnr", method=method, k=k)

    return [
        above(
            "prefixes-carry",
            f"FlexLAM decodes better from {low} slot(s) than from none",
            paired_effect(psnr(FLEX, low), psnr(FLEX, 0)),
            unit="dB",
        ),
        above(
            "more-is-better",
            f"FlexLAM decodes better from {high} slots than from {low}",
            paired_effect(psnr(FLEX, high), psnr(FLEX, low)),
            unit="dB",
        ),
        non_inferior(
            "decodes-as-fixed",
            f"FlexLAM@k decodes at most {MARGIN:g} dB worse than Fixed-K at every k",
            {f"k={k}": paired_effect(psnr(FIXED, k), psnr(FLEX, k)) for k in config.prefix_lengths},
            MARGIN,
            unit="dB",
        ),
    ]


def _figure(config: StudyConfig, found: Found) -> str:
    def draw(axes: Axes, number: int) -> None:
        ks = config.prefix_lengths
        series = {method: [found.of_seeds("psnr", method=method, k=k) for k in ks] for method in (FLEX, FIXED)}
        curves(axes, [float(place) for place in range(len(ks))], series)
        axes.set_xticks(range(len(ks)), [str(k) for k in ks])

    return panels(["decoded next frame"], draw, "retained slots k", "PSNR, dB", width=3.6)


def study() -> Study:
    """How well do prefixes decode beside models trained for their length alone?"""
    return Study(steps, conclude)

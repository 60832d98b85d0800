"""Which prefix lengths to train on: p(k) of the latent action model, family by family (FlexLAM §4.1, App. A.7)."""

from typing import get_args

from flexlam.bottleneck.prefix import PrefixSampling
from flexlam.metrics.intervals import estimate
from flexlam.report.table import Table, with_stderr
from flexlam.study.base import Measured, Outcome, Study
from flexlam.study.claims import below, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.graph import Step
from flexlam.study.pieces import data_step, lam_step, translators_step

PAPERS: PrefixSampling = "uniform"
FAMILIES = tuple(name for name in get_args(PrefixSampling) if name != "full")

Losses = dict[int, list[float]]
"""LAM seed -> test losses, in the same order for every family."""


def steps(config: StudyConfig) -> list[Step]:
    """A model for each family; the translator is the same for all."""
    data, wanted = data_step(config), []
    for seed in config.seeds:
        for family in FAMILIES:
            lam = config.lam.lam.model_copy(update={"prefix_sampling": family})
            about = {"method": family, "seed": seed}
            model = lam_step(data, config.lam.model_copy(update={"lam": lam}), seed, about)
            lengths = config.prefix_lengths
            wanted.append(translators_step(data, model, config, seed, about, prefix_lengths=lengths))
    return wanted


def conclude(config: StudyConfig, measured: list[Measured]) -> Outcome:
    """Each family beside the paper's, over all label budgets and draws, at every k and over all of them."""

    def losses(family: str, k: int | None = None) -> Losses:
        return {
            entry.about["seed"]: [row["action_loss"] for row in entry.rows if k is None or row["k"] == k]
            for entry in measured
            if entry.about["method"] == family
        }

    others = [family for family in FAMILIES if family != PAPERS]
    header = ("p(k)", *(f"k = {k}" for k in config.prefix_lengths), "all k")
    lengths = (*config.prefix_lengths, None)
    rows = tuple((family, *(_cell(losses(family, k)) for k in lengths)) for family in FAMILIES)
    title = "Test loss of the translator, nats: mean over LAM seeds ± standard error, all label budgets together"
    if not measured:
        return Outcome([], {title: Table(header, (rows,))}, {})
    claims = [
        below(
            f"better-than-{PAPERS}/{family}",
            f"training on p(k) = {family} gives a lower loss than on {PAPERS}, over all k and label budgets",
            paired_effect(losses(family), losses(PAPERS)),
        )
        for family in others
    ]
    return Outcome(claims, {title: Table(header, (rows,))}, {})


def _cell(losses: Losses) -> str:
    if not losses:
        return "–"
    found = estimate([sum(values) / len(values) for values in losses.values()])
    return with_stderr(found.mean, found.stderr, 3)


def study() -> Study:
    """Which distribution of prefix lengths trains the best codes?"""
    return Study(steps, conclude)

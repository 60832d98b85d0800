"""Which prefix lengths to train on: p(k) of the latent action model, family by family (FlexLAM §4.1, App. A.7)."""

from typing import get_args

from flexlam.bottleneck.prefix import PrefixSampling
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import below, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found
from flexlam.study.graph import Step
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, translators_step
from flexlam.study.pieces.models import lam_step

PAPERS: PrefixSampling = "uniform"
FAMILIES = tuple(name for name in get_args(PrefixSampling) if name != "full")


def steps(config: StudyConfig) -> list[Step]:
    """A model for each family; the translator is the same for all."""
    data, wanted = data_step(config), []
    fits = Fits(config.translator, config.prefix_lengths)
    for seed in config.seeds:
        for family in FAMILIES:
            lam = config.lam.lam.model_copy(update={"prefix_sampling": family})
            about = {"method": family, "seed": seed}
            model = lam_step(data, config.lam.model_copy(update={"lam": lam}), seed, about)
            wanted.append(translators_step(data, model, config, fits, seed, about))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Each family beside the paper's, over all label budgets and draws, at every k and over all of them."""
    others = [family for family in FAMILIES if family != PAPERS]
    header = ("p(k)", *(f"k = {k}" for k in config.prefix_lengths), "all k")
    rows = tuple(
        (
            family,
            *(found.cell("action_loss", method=family, k=k) for k in config.prefix_lengths),
            found.cell("action_loss", method=family),
        )
        for family in FAMILIES
    )
    title = "Test loss of the translator, nats: mean over LAM seeds ± standard error, all label budgets together"
    claims = [
        below(
            f"better-than-{PAPERS}/{family}",
            f"training on p(k) = {family} gives a lower loss than on {PAPERS}, over all k and label budgets",
            paired_effect(found.values("action_loss", method=family), found.values("action_loss", method=PAPERS)),
        )
        for family in (others if found else ())
    ]
    return Outcome(claims, {title: Table(header, (rows,))}, {})


def study() -> Study:
    """Which distribution of prefix lengths trains the best codes?"""
    return Study(steps, conclude)

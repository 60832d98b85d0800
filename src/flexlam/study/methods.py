"""The models that studies compare, and the ways to read them."""

from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.study.config import StudyConfig
from flexlam.study.pieces.data import frame_shape
from flexlam.study.pieces.fits import Fits
from flexlam.study.pieces.models import equal_steps, with_steps
from flexlam.training.lam import LamRunConfig

FLEX, SUMMED, FIXED, OURS = "FlexLAM", "FlexLAM, summed cost", "Fixed-K", "FlexLAM, ours"
OURS_SUMMED = "FlexLAM, ours, summed cost"
DROPOUT, DECAY, FLEX_DECAY = "Fixed-K + prefix", "Fixed-K + decay", "FlexLAM + decay"
FIXED_OURS, FIXED_ENSEMBLE = "Fixed-K + our translator", "Fixed-K + ensemble"
PREVIOUS = "previous action"


def flex(config: StudyConfig) -> LamRunConfig:
    """One model for every k, as the paper trains it."""
    return config.lam


def summed(config: StudyConfig) -> LamRunConfig:
    """The same, trained for as much arithmetic as the Fixed-K models together."""
    return with_steps(config.lam, config.lam.training.num_steps * len(config.prefix_lengths))


def fixed(config: StudyConfig, k: int) -> LamRunConfig:
    """A model for one k, at the cost of FlexLAM."""
    lam = config.lam.lam.model_copy(update={"num_slots": k, "prefix_sampling": "full"})
    run = config.lam.model_copy(update={"lam": lam})
    return with_steps(run, equal_steps(config.lam, run, frame_shape(config)))


def ours(config: StudyConfig) -> LamRunConfig:
    """FlexLAM with our p(k)."""
    lam = config.lam.lam.model_copy(update={"prefix_sampling": config.ours.prefix_sampling})
    return config.lam.model_copy(update={"lam": lam})


def flex_fits(config: StudyConfig, prefix_lengths: tuple[int, ...]) -> dict[str, Fits]:
    """Ways to read FlexLAM."""
    paper = Fits(config.translator, prefix_lengths)
    return {FLEX: paper, FLEX_DECAY: Fits(config.translator, prefix_lengths, weight_decays=config.weight_decays)}


def fixed_fits(config: StudyConfig, k: int) -> dict[str, Fits]:
    """Ways to read a Fixed-K model: as it is, and with what FlexLAM's translators have.

    The ensemble has as many networks as ours averages at that k, each on the whole code.
    """
    num_networks = sum(0 < length <= k for length in reported_prefix_lengths(k))
    return {
        FIXED: Fits(config.translator),
        DROPOUT: Fits(config.translator, prefix_dropout=True),
        DECAY: Fits(config.translator, weight_decays=config.weight_decays),
        FIXED_OURS: Fits(config.ours.translator, prefix_dropout=True),
        FIXED_ENSEMBLE: Fits(config.translator, num_networks=num_networks),
    }


def compared(one: str, other: str) -> tuple[str, str]:
    """End of a claim's id and of its statement: nothing for the paper's own comparison."""
    if (one, other) == (FLEX, FIXED):
        return "", ""
    return f"/{one}/{other}".lower().replace(" ", "-").replace(",", ""), f" [{one} against {other}]"

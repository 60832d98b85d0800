"""One FlexLAM read at every prefix length (FlexLAM Fig. 7)."""

from itertools import pairwise

from matplotlib.axes import Axes

from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, below, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import curves, panels
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.methods import FLEX, flex
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, translators_step
from flexlam.study.pieces.models import lam_step


def steps(config: StudyConfig) -> list[Step]:
    """The FlexLAM models of `tradeoff`, read at k = 0, 1, 2, 4, ... and K."""
    data, wanted = data_step(config), []
    for seed in config.seeds:
        about = {"method": FLEX, "seed": seed}
        lam = lam_step(data, flex(config), seed, about)
        wanted.append(translators_step(data, lam, config, Fits(config.translator, _lengths(config)), seed, about))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Whether a longer prefix aligns better, at every label budget and over all of them."""
    header = ("k", *(f"N = {count}" for count in config.label_counts), "all N")
    rows = tuple(
        (
            str(k),
            *(found.cell("action_loss", k=k, labels=count) for count in config.label_counts),
            found.cell("action_loss", k=k),
        )
        for k in _lengths(config)
    )
    tables = {"Test loss of the translator, nats: mean over LAM seeds ± standard error": Table(header, (rows,))}
    if not found:
        return Outcome([], tables, {})
    return Outcome(_claims(config, found), tables, {"prefix.svg": _figure(config, found)})


def _claims(config: StudyConfig, found: Found) -> list[Claim]:
    lengths = _lengths(config)

    def losses(k: int) -> Values:
        return found.values("action_loss", k=k)

    steps_up = {f"k={b} beside k={a}": paired_effect(losses(b), losses(a)) for a, b in pairwise(lengths)}
    one, full = lengths[1], lengths[-1]
    return [
        below(
            "one-slot-helps",
            f"{one} slot(s) give a lower loss than none, over all label budgets",
            paired_effect(losses(one), losses(0)),
        ),
        below(
            "longer-is-better",
            f"{full} slots give a lower loss than {one}, over all label budgets",
            paired_effect(losses(full), losses(one)),
        ),
        non_inferior(
            "never-worse",
            f"each longer prefix loses at most {config.margin:g} nats more than the one before it",
            steps_up,
            config.margin,
        ),
    ]


def _figure(config: StudyConfig, found: Found) -> str:
    lengths = _lengths(config)

    def draw(axes: Axes, number: int) -> None:
        series = {
            f"N = {count}": [found.of_seeds("action_loss", k=k, labels=count) for k in lengths]
            for count in config.label_counts
        }
        curves(axes, [float(place) for place in range(len(lengths))], series)
        axes.set_xticks(range(len(lengths)), [str(k) for k in lengths])

    return panels(["one FlexLAM"], draw, "retained slots k", "test loss of the translator, nats", width=3.6)


def _lengths(config: StudyConfig) -> tuple[int, ...]:
    return reported_prefix_lengths(config.lam.lam.num_slots)


def study() -> Study:
    """Do intermediate prefixes of one model remain useful, and longer ones more so?"""
    return Study(steps, conclude)

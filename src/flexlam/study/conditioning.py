"""What the translator reads beside the code: nothing, the previous action, the current frame too (FlexLAM Fig. 10)."""

from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import above, below, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found
from flexlam.study.graph import Step
from flexlam.study.methods import FLEX, flex
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, translators_step
from flexlam.study.pieces.models import lam_step

CODE, ACTION, FRAME = "z", "z + a_t−1", "z + a_t−1 + o_t"
_READ = {CODE: (False, False), ACTION: (True, False), FRAME: (True, True)}


def steps(config: StudyConfig) -> list[Step]:
    """The FlexLAM models of `tradeoff`, with three kinds of translators at K."""
    data, wanted, high = data_step(config), [], max(config.prefix_lengths)
    for seed in config.seeds:
        lam = lam_step(data, flex(config), seed, {"method": FLEX, "seed": seed})
        for name, (prev_action, obs) in _READ.items():
            translator = config.translator.model_copy(update={"use_prev_action": prev_action, "use_obs": obs})
            about = {"method": name, "seed": seed}
            wanted.append(translators_step(data, lam, config, Fits(translator, (high,)), seed, about))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Whether the previous action helps, and whether the frame harms, over all label budgets and with the fewest."""
    header = ("the translator reads", *(f"N = {count}" for count in config.label_counts), "all N")
    rows = tuple(
        (
            name,
            *(found.cell("action_loss", method=name, labels=count) for count in config.label_counts),
            found.cell("action_loss", method=name),
        )
        for name in _READ
    )
    tables = {"Test loss of the translator, nats: mean over LAM seeds ± standard error": Table(header, (rows,))}
    if not found:
        return Outcome([], tables, {})
    few = min(config.label_counts)
    claims = [
        below(
            "previous-action-helps",
            f"reading {ACTION} gives a lower loss than reading {CODE}, over all label budgets",
            paired_effect(found.values("action_loss", method=ACTION), found.values("action_loss", method=CODE)),
        ),
        above(
            "frame-harms",
            f"reading {FRAME} gives a higher loss than reading {ACTION} with N = {few} labels",
            paired_effect(
                found.values("action_loss", method=FRAME, labels=few),
                found.values("action_loss", method=ACTION, labels=few),
            ),
        ),
    ]
    return Outcome(claims, tables, {})


def study() -> Study:
    """Does the previous action help the translator, and the current frame harm it?"""
    return Study(steps, conclude)

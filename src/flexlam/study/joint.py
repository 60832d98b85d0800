"""Joint alignment beside frozen models and an inverse dynamics model without a bottleneck (FlexLAM Fig. 8)."""

from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, above, below, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.methods import FIXED, FLEX, fixed, flex
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, idm_step, joint_score_step, translators_step
from flexlam.study.pieces.models import joint_step, lam_step

IDM, FROZEN, JOINT = "inverse dynamics model", "frozen", "joint"


def steps(config: StudyConfig) -> list[Step]:
    """The loosest models of `tradeoff`, frozen and joint, on one draw of many labels.

    Raises:
        ConfigError: label noise.
    """
    config.without_noise("of joint alignment")
    joint, data, high = config.joint, data_step(config), max(config.prefix_lengths)
    one_draw = config.model_copy(update={"num_draws": 1})
    wanted = []
    for seed in config.seeds:
        for method, run, lengths in (
            (FLEX, flex(config), config.prefix_lengths),
            (FIXED, fixed(config, high), (high,)),
        ):
            about = {"method": method, "seed": seed}
            lam = lam_step(data, run, seed, about)
            fits = Fits(config.translator, lengths, label_counts=(joint.num_labels,))
            wanted.append(translators_step(data, lam, one_draw, fits, seed, {**about, "alignment": FROZEN}))
            aligned = {**about, "alignment": JOINT}
            tuned = joint_step(data, lam, joint.training, joint.num_labels, seed, 0, aligned)
            wanted.append(joint_score_step(data, tuned, config, lengths, seed))
            if method == FLEX:
                of_idm = {"method": IDM, "seed": seed}
                wanted.append(idm_step(data, lam, one_draw, joint.num_labels, joint.idm_fit, seed, of_idm))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Who leads while models are frozen, who when they are not, and who gains more."""
    rows = [
        (f"{method}, k = {k}", *(found.cell("action_loss", method=method, k=k, alignment=a) for a in (FROZEN, JOINT)))
        for method, lengths in ((FLEX, config.prefix_lengths), (FIXED, (max(config.prefix_lengths),)))
        for k in lengths
    ]
    rows.append((f"{IDM} (nothing to freeze)", found.cell("action_loss", method=IDM), ""))
    title = f"Test loss, nats, N = {config.joint.num_labels}: mean over LAM seeds ± standard error"
    return Outcome(
        _claims(config, found) if found else [], {title: Table(("model", FROZEN, JOINT), (tuple(rows),))}, {}
    )


def _claims(config: StudyConfig, found: Found) -> list[Claim]:
    high = max(config.prefix_lengths)

    def losses(method: str, alignment: str) -> Values:
        return found.values("action_loss", method=method, k=high, alignment=alignment)

    def gains(method: str) -> Values:
        frozen, joint = losses(method, FROZEN), losses(method, JOINT)
        return {seed: [a - b for a, b in zip(frozen[seed], joint[seed], strict=True)] for seed in frozen}

    idm, claims = found.values("action_loss", method=IDM), []
    for method in (FLEX, FIXED):
        key = method.lower()
        claims.append(
            below(
                f"idm-ahead-when-frozen/{key}",
                f"the inverse dynamics model loses less than the frozen {method} at K = {high}",
                paired_effect(idm, losses(method, FROZEN)),
            )
        )
        claims.append(
            below(
                f"reversed-when-joint/{key}",
                f"the jointly aligned {method} at K = {high} loses less than the inverse dynamics model",
                paired_effect(losses(method, JOINT), idm),
            )
        )
    claims.append(
        above(
            "flex-gains-more",
            f"joint alignment lowers FlexLAM's loss by more than Fixed-K's at K = {high}",
            paired_effect(gains(FLEX), gains(FIXED)),
        )
    )
    return claims


def study() -> Study:
    """Does joint alignment overtake the inverse dynamics model, and FlexLAM gain more by it?"""
    return Study(steps, conclude)

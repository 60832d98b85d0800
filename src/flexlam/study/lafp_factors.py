"""LAFP, one factor at a time beside the main comparison: the flow, what its decoder learns from, what labels shape."""

from collections.abc import Iterator
from typing import Any

from flexlam.data.labels import LabelBudget
from flexlam.report.table import Table
from flexlam.study.claims import Claim, above, non_inferior, paired_effect
from flexlam.study.config import DecidingConfig, StudyConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.lafp_methods import FLOW
from flexlam.study.pieces.deciding import tried_policy
from flexlam.training.lam import LamRunConfig
from flexlam.training.latent_source import LatentSourceConfig
from flexlam.training.objectives.action_supervision import ActionSupervision
from flexlam.training.objectives.composed import ObjectivesConfig
from flexlam.training.policy import PolicyRunConfig

STEPS, WIDTH, DECODER, TAU, LABELS = "Euler steps", "width and target", "decoder fitted to", "tau", "labels"
POLICY, PRETRAINING = "policy", "pretraining"
TARGETS = ("latent", "vector")
FROZEN, TUNED = "frozen", "fine-tuned"
WITHOUT_HEAD, WITH_HEAD = "without action head", "with action head"
SOURCES = ("inferred", "sampled", "interpolated")
MARGIN = 0.05
"""Success by which what is not inferior may be behind."""
COLUMNS = {
    "success": "success",
    "up": "of these up",
    "covered": "both ways drawn",
    "decisive": "decisive draws",
    "action_loss": "decoder's loss, own latents",
    "encoded_action_loss": "encoded latents",
    "distance": "distance",
}
"""What tables tell of a policy with its decoder."""
_Setting = tuple[LamRunConfig, PolicyRunConfig, DecidingConfig]


def factor_steps(config: StudyConfig) -> list[Step]:
    """Every level of every factor; those that need models of their own on the first seeds."""
    factors, wanted = config.lafp.factors, []
    for factor, level, setting in _levels(config):
        about = {"part": "factor", "factor": factor, "level": level, "method": FLOW}
        fine_tuning = factors.fine_tuning if level == TUNED else None
        for seed in config.seeds[: factors.num_width_seeds if factor in (WIDTH, PRETRAINING) else None]:
            wanted.append(tried_policy(config, *setting, seed, about, fine_tuning))
    return wanted


def _levels(config: StudyConfig) -> Iterator[tuple[str, str, _Setting]]:
    """Factor, level, and the settings; numbers of Euler steps are levels of one step's rows."""
    lafp, factors = config.lafp, config.lafp.factors
    deciding = lafp.deciding.model_copy(update={"num_episodes": factors.num_episodes})

    def with_latents(**changed: Any) -> DecidingConfig:
        latents = LatentSourceConfig.parse({**deciding.latents.model_dump(), **changed})
        return deciding.model_copy(update={"latents": latents})

    yield STEPS, "", (lafp.lam, lafp.flow, deciding.model_copy(update={"num_steps": factors.num_steps}))
    for num_slots in factors.num_slots:
        run = lafp.lam.model_copy(update={"lam": lafp.lam.lam.model_copy(update={"num_slots": num_slots})})
        for target in TARGETS:
            policy = lafp.flow.policy.model_copy(update={"target": target})
            flow = lafp.flow.model_copy(update={"policy": policy})
            yield WIDTH, width_level(config, num_slots, target), (run, flow, deciding)
    for source in SOURCES:
        yield DECODER, source, (lafp.lam, lafp.flow, with_latents(source=source))
    for tau in factors.interpolations:
        changed = {"source": "interpolated", "interpolation": tau} if tau else {"source": "sampled"}
        yield TAU, f"{tau:g}", (lafp.lam, lafp.flow, with_latents(**changed))
    for fraction in factors.label_fractions:
        yield LABELS, f"{fraction:g}", (lafp.lam, lafp.flow, deciding.model_copy(update={"label_fraction": fraction}))
    if factors.fine_tuning is not None:
        for level in (FROZEN, TUNED):
            yield POLICY, level, (lafp.lam, lafp.flow, deciding)
    if factors.action_weight is not None:
        yield PRETRAINING, WITHOUT_HEAD, (lafp.lam, lafp.flow, deciding)
        yield PRETRAINING, WITH_HEAD, (_with_head(lafp.lam, factors.action_weight, deciding), lafp.flow, deciding)


def _with_head(run: LamRunConfig, weight: float, deciding: DecidingConfig) -> LamRunConfig:
    """The same run with an action head, on the very labels that the decoder is fitted to."""
    head = ActionSupervision.Config(labels=LabelBudget(fraction=deciding.label_fraction))
    return run.model_copy(update={"objectives": ObjectivesConfig(auxiliary=head, weight=weight)})


def width_level(config: StudyConfig, num_slots: int, target: str) -> str:
    """How a width with a target is called."""
    return f"{num_slots * config.lafp.lam.lam.quantizer.dim}, {target}"


def factor_claims(config: StudyConfig, found: Found) -> list[Claim]:
    """The paper's orders, as far as their levels were tried."""
    factors, unit = config.lafp.factors, "success"

    def success(factor: str, **where: Any) -> Values:
        return found.values("success", part="factor", factor=factor, **where)

    def more(id: str, statement: str, ours: Values, theirs: Values) -> list[Claim]:
        return [above(id, statement, paired_effect(ours, theirs), unit=unit)] if ours and theirs else []

    def enough(id: str, statement: str, cell: str, ours: Values, theirs: Values) -> list[Claim]:
        behind = {cell: paired_effect(theirs, ours)} if ours and theirs else {}
        return [non_inferior(id, statement, behind, MARGIN, unit)] if behind else []

    inferred, sampled, interpolated = (success(DECODER, level=source) for source in SOURCES)
    one, three, twenty = (success(STEPS, num_steps=number) for number in (1, 3, 20))
    widest = max(factors.num_slots, default=0)
    latent, vector = (success(WIDTH, level=width_level(config, widest, target)) for target in TARGETS)
    frozen, tuned = (success(POLICY, level=level) for level in (FROZEN, TUNED))
    without, with_head = (success(PRETRAINING, level=level) for level in (WITHOUT_HEAD, WITH_HEAD))
    return [
        *more(
            "interpolated-over-sampled",
            "a decoder fitted to interpolated latents succeeds more than one fitted to sampled latents",
            interpolated,
            sampled,
        ),
        *enough(
            "interpolated-not-behind-inferred",
            f"a decoder fitted to interpolated latents is at most {MARGIN:g} behind one fitted to inferred latents",
            "inferred",
            interpolated,
            inferred,
        ),
        *more("three-steps-over-one", "LAFP succeeds more with 3 steps than with 1", three, one),
        *enough(
            "three-steps-enough",
            f"with 3 steps LAFP succeeds at most {MARGIN:g} less than with 20",
            "3",
            three,
            twenty,
        ),
        *more(
            "latent-over-vector",
            "LAFP that predicts the latent succeeds more than one that predicts the vector, at a width of "
            f"{widest * config.lafp.lam.lam.quantizer.dim}",
            latent,
            vector,
        ),
        *more(
            "frozen-over-tuned",
            "LAFP whose policy stays frozen succeeds more than LAFP whose policy is fine-tuned with its decoder",
            frozen,
            tuned,
        ),
        *more(
            "action-head-helps",
            "LAFP succeeds more on a model that was pretrained with an action head than on one without",
            with_head,
            without,
        ),
    ]


def shown(found: Found, name: str, digits: int = 3, **where: Any) -> str:
    """A cell of a table; where nobody succeeded, no way was taken."""
    nobody = name == "up" and found.values("success", **where) and not found.values("up", **where)
    return "nobody" if nobody else found.cell(name, digits, **where)


def factor_table(config: StudyConfig, found: Found) -> Table:
    """A group of rows for each factor."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for factor, level, (_, _, deciding) in _levels(config):
        for number in deciding.num_steps:
            where: dict[str, Any] = {"part": "factor", "factor": factor, "level": level, "num_steps": number}
            cells = (shown(found, name, **where) for name in COLUMNS)
            groups.setdefault(factor, []).append((f"{factor}: {level or number}", *cells))
    return Table(("factor", *COLUMNS.values()), tuple(tuple(rows) for rows in groups.values()))

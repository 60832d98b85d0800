"""Actions, not background: plain FlexLAM beside the remedies, in worlds whose truth is known (2605.20223).

The best remedy is chosen in one world and reported in another of its kind, at equal arithmetic.
"""

import numpy as np

from flexlam.core.errors import ConfigError
from flexlam.data.labels import LabelBudget
from flexlam.metrics.ranks import spearman
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, above, below, mean_effect
from flexlam.study.config import ExogenousConfig, StudyConfig, WorldPair
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.leakage import probes_step
from flexlam.study.pieces.models import equal_objective_steps, lam_step, with_steps
from flexlam.training.lam import LamRunConfig
from flexlam.training.objectives.action_supervision import ActionSupervision
from flexlam.training.objectives.composed import ObjectivesConfig
from flexlam.training.objectives.cross_exogenous import CrossExogenous
from flexlam.training.objectives.features import FeaturePrediction
from flexlam.training.objectives.optical_flow import OpticalFlow

PLAIN = "reconstruction"
CROSS, FEATURES, FLOW = "cross-exogenous", "features", "optical flow"
SUPERVISED, CROSS_FIRST, ACTIONS_FIRST = "reconstruction + actions", "cross-exogenous first", "actions first"
REPLACING = (CROSS, FEATURES, FLOW)
"""Remedies that take the place of reconstruction."""
ENDOGENOUS_FIRST = (CROSS_FIRST, ACTIONS_FIRST)
"""Remedies that have the first slots to themselves."""
CHOSEN_ON, REPORTED = "chosen on", "reported"


def objectives(config: ExogenousConfig) -> dict[str, ObjectivesConfig]:
    """What each method asks of the codes."""
    labels = ActionSupervision.Config(labels=LabelBudget(count=config.num_labels))
    first = {"num_endogenous": config.prefix_length}
    return {
        PLAIN: ObjectivesConfig(),
        CROSS: ObjectivesConfig(main=CrossExogenous.Config()),
        FEATURES: ObjectivesConfig(main=FeaturePrediction.Config()),
        FLOW: ObjectivesConfig(main=OpticalFlow.Config()),
        SUPERVISED: ObjectivesConfig(auxiliary=labels, weight=config.action_weight),
        CROSS_FIRST: ObjectivesConfig(auxiliary=CrossExogenous.Config(), **first),
        ACTIONS_FIRST: ObjectivesConfig(auxiliary=labels, **first),
    }


def steps(config: StudyConfig) -> list[Step]:
    """Every method in every world: all seeds where results are reported, the first ones where the remedy is chosen.

    Raises:
        ConfigError: the profile names no worlds.
    """
    if not config.exogenous.worlds:
        raise ConfigError("This profile has no worlds for the study of remedies. Take --profile cpu or tiny.")
    wanted = []
    for name, pair in config.exogenous.worlds.items():
        for role in (CHOSEN_ON, REPORTED):
            seeds = config.seeds if role == REPORTED else config.seeds[: config.exogenous.num_choice_seeds]
            for method, run in _runs(config.exogenous, pair).items():
                wanted += [_step(config, pair, role, run, seed, _about(name, role, method, seed)) for seed in seeds]
    return wanted


def _about(world: str, role: str, method: str, seed: int) -> dict[str, str | int]:
    return {"world": world, "role": role, "method": method, "seed": seed}


def _runs(config: ExogenousConfig, pair: WorldPair) -> dict[str, LamRunConfig]:
    """Each method's run, as long as costs as much arithmetic as plain reconstruction."""
    plain = config.lam
    found = {}
    for method, asked in objectives(config).items():
        run = plain.model_copy(update={"objectives": asked})
        found[method] = with_steps(run, equal_objective_steps(plain, run, pair.reported.suite))
    return found


def _step(
    config: StudyConfig, pair: WorldPair, role: str, run: LamRunConfig, seed: int, about: dict[str, str | int]
) -> Step:
    recording = pair.reported if role == REPORTED else pair.chosen_on
    other = recording.model_copy(update={"overlay_seed": recording.seed + 1})
    data, twin = data_step(config, recording), data_step(config, other)
    reads_twin = "cross-exogenous" in (run.objectives.main.name, run.objectives.auxiliary.name)
    lam = lam_step(data, run, seed, about, twin if reads_twin else None)
    return probes_step(data, twin, lam, config.exogenous.probes, about)


class _Errors:
    """What was found, as errors and shares by seed."""

    def __init__(self, config: ExogenousConfig, found: Found) -> None:
        self.found, self.full, self.short = found, config.lam.lam.num_slots, config.prefix_length

    def action(self, world: str, method: str, k: int, role: str = REPORTED) -> Values:
        """Error of the best probe of the action; that of code and state counts, too."""
        return self._best(("action_linear_nmse", "action_mlp_nmse", "action_given_state_nmse"), world, method, k, role)

    def leak(self, world: str, method: str, k: int, role: str = REPORTED) -> Values:
        """Share of the future exogenous innovation that the better probe reads."""
        keys = ("exogenous_innovation_linear_nmse", "exogenous_innovation_mlp_nmse")
        return {s: [max(0.0, 1 - v) for v in values] for s, values in self._best(keys, world, method, k, role).items()}

    def of(self, key: str, world: str, method: str, k: int) -> Values:
        """Any other column."""
        return self.found.values(key, world=world, method=method, k=k, role=REPORTED)

    def best(self, world: str, methods: tuple[str, ...], k: int) -> str:
        """The method with the lowest action error plus leakage in the world for choosing."""

        def score(method: str) -> float:
            parts = (self.action(world, method, k, CHOSEN_ON), self.leak(world, method, k, CHOSEN_ON))
            return sum(float(np.mean([value for values in part.values() for value in values])) for part in parts)

        return min(methods, key=score)

    def _best(self, keys: tuple[str, ...], world: str, method: str, k: int, role: str) -> Values:
        found = [self.found.values(key, world=world, method=method, k=k, role=role) for key in keys]
        return {
            seed: [min(several) for several in zip(*(values[seed] for values in found if values), strict=True)]
            for seed in found[0]
        }


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Leakage of plain FlexLAM, what remedies make of it, and whether the swap score foretells it."""
    if not found:
        return Outcome([], {}, {})
    errors, claims, tables = _Errors(config.exogenous, found), [], {}
    for world in config.exogenous.worlds:
        claims += _claims(errors, world)
        tables[
            f"{world}: NMSE of the action and share of the innovation read, mean over LAM seeds ± standard error"
        ] = _table(errors, world)
    claims.append(_swap_claim(config, errors))
    return Outcome(claims, tables, {})


def _claims(errors: _Errors, world: str) -> list[Claim]:
    """Of one world."""
    short, full = errors.short, errors.full
    remedies = tuple(method for method in objectives_names() if method != PLAIN)
    claims = [
        above(
            f"{world}/leaks",
            f"{world}: a probe reads something of the coming background from plain FlexLAM at k = {full}",
            mean_effect(errors.leak(world, PLAIN, full)),
            unit="share of the innovation",
        )
    ]
    for k, candidates in ((short, remedies), (full, REPLACING)):
        best = errors.best(world, candidates, k)
        stated = f"{world}, k = {k}: {best}, chosen in another world, halves plain FlexLAM's"
        for what, values, unit in (
            ("leakage", errors.leak, "share of the innovation"),
            ("action-error", errors.action, "NMSE"),
        ):
            claims.append(
                below(
                    f"{world}/halves-{what}/k={k}",
                    f"{stated} {what.replace('-', ' ')}",
                    mean_effect(_minus_half(values(world, best, k), values(world, PLAIN, k))),
                    unit=unit,
                )
            )
    first = errors.best(world, ENDOGENOUS_FIRST, short)
    claims += [
        below(
            f"{world}/endogenous-first/full",
            f"{world}: {first} has an action NMSE of at most .3 at k = {full}",
            mean_effect(errors.action(world, first, full)),
            0.3,
            "NMSE",
        ),
        below(
            f"{world}/endogenous-first/short",
            f"{world}: {first} loses at most .05 of it at k = {short}",
            mean_effect(_minus(errors.action(world, first, short), errors.action(world, first, full))),
            0.05,
            "NMSE",
        ),
        above(
            f"{world}/endogenous-first/plain-gap",
            f"{world}: plain FlexLAM loses at least .2 between k = {full} and k = {short}",
            mean_effect(_minus(errors.action(world, PLAIN, short), errors.action(world, PLAIN, full))),
            0.2,
            "NMSE",
        ),
    ]
    return claims


def objectives_names() -> tuple[str, ...]:
    """Every method."""
    return (PLAIN, *REPLACING, SUPERVISED, *ENDOGENOUS_FIRST)


def _swap_claim(config: StudyConfig, errors: _Errors) -> Claim:
    """Rank correlation of the swap score with true leakage over all models of a seed, in all worlds."""
    cells = [(world, method) for world in config.exogenous.worlds for method in objectives_names()]
    full = errors.full
    correlations: Values = {}
    for seed in errors.leak(*cells[0], full):
        scores = [errors.of("swap_score", world, method, full)[seed][0] for world, method in cells]
        leaks = [errors.leak(world, method, full)[seed][0] for world, method in cells]
        correlations[seed] = [spearman(scores, leaks)]
    return above(
        "swap-score",
        f"the swap score ranks {len(cells)} models as their true leakage does (Spearman at least .7)",
        mean_effect(correlations),
        0.7,
        "rank correlation",
    )


def _minus_half(ours: Values, plain: Values) -> Values:
    return {seed: [a - b / 2 for a, b in zip(ours[seed], plain[seed], strict=True)] for seed in ours}


def _minus(one: Values, other: Values) -> Values:
    return {seed: [a - b for a, b in zip(one[seed], other[seed], strict=True)] for seed in one}


def _table(errors: _Errors, world: str) -> Table:
    short, full = errors.short, errors.full
    header = [f"{what}, k = {k}" for k in (short, full) for what in ("action", "leakage")]
    cells = ("action_linear_nmse", "action_given_state_nmse", "swap_score", "twin_agreement", "psnr")
    rows = tuple(
        (
            method,
            *(_mean(values(world, method, k)) for k in (short, full) for values in (errors.action, errors.leak)),
            *(errors.found.cell(key, world=world, method=method, k=full, role=REPORTED) for key in cells),
        )
        for method in objectives_names()
    )
    names = ("action, linear probe", "action, given the state", "swap score", "twins' codes alike", "PSNR, dB")
    return Table(("objective", *header, *(f"{name}, k = {full}" for name in names)), (rows,))


def _mean(values: Values) -> str:
    found = mean_effect(values)
    half = "" if found.ci95 is None else f" ({found.ci95[0]:.2f} to {found.ci95[1]:.2f})"
    return f"{found.mean:.3f}{half}"


def study() -> Study:
    """Do remedies take the background out of codes, and which one keeps the action in short prefixes?"""
    return Study(steps, conclude)

"""Actions, not background: plain FlexLAM beside the remedies, in worlds whose truth is known (2605.20223).

The best remedy is chosen in one world and reported in another of its kind, at equal arithmetic.
"""

from flexlam.core.errors import ConfigError
from flexlam.metrics.ranks import spearman
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, above, below, mean_effect
from flexlam.study.config import StudyConfig
from flexlam.study.exogenous_errors import CHOSEN_ON, REPORTED, Errors
from flexlam.study.exogenous_factors import factor_steps, factor_table
from flexlam.study.exogenous_shown import remedies_figures, remedies_table
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.pieces.remedies import (
    ENDOGENOUS_FIRST,
    METHODS,
    PLAIN,
    REPLACING,
    compared,
    remedy_runs,
    remedy_step,
)


def steps(config: StudyConfig) -> list[Step]:
    """Every method in every world: all seeds where results are reported, the first ones where the remedy is chosen.

    Raises:
        ConfigError: the profile names no worlds.
    """
    if not config.exogenous.worlds:
        raise ConfigError("This profile has no worlds for the study of remedies. Take --profile cpu or tiny.")
    wanted = []
    for name, pair in config.exogenous.worlds.items():
        runs = remedy_runs(config.exogenous, pair.lam or config.exogenous.lam, pair.reported.suite)
        for role, recording in ((CHOSEN_ON, pair.chosen_on), (REPORTED, pair.reported)):
            seeds = config.seeds if role == REPORTED else config.seeds[: config.exogenous.num_choice_seeds]
            for method in compared(pair):
                about = {"world": name, "role": role, "method": method}
                wanted += [remedy_step(config, recording, runs[method], s, {**about, "seed": s}) for s in seeds]
    return wanted + factor_steps(config)


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Leakage of plain FlexLAM, what remedies make of it, and whether the swap score foretells it."""
    if not found:
        return Outcome([], {}, {})
    errors, claims, tables = Errors(config.exogenous, found), [], {}
    for world, pair in config.exogenous.worlds.items():
        claims += _order_claims(errors, world) if pair.only_order else _claims(errors, world)
        title = f"{world}: NMSE of the action and share of the innovation read (95 % interval, or ± standard error)"
        tables[title] = remedies_table(errors, world)
    claims.append(_swap_claim(config, errors))
    if config.exogenous.factors.world:
        tables["One factor at a time: NMSE of the action and share of the innovation read, mean over LAM seeds"] = (
            factor_table(config, found)
        )
    return Outcome(claims, tables, remedies_figures(errors))


def _claims(errors: Errors, world: str) -> list[Claim]:
    """Of one world."""
    short, full = errors.short, errors.full(world)
    remedies = tuple(method for method in METHODS if method != PLAIN)
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
    return claims + _order_claims(errors, world)


def _order_claims(errors: Errors, world: str) -> list[Claim]:
    """Whether the first slots carry the action."""
    short, full = errors.short, errors.full(world)
    first = errors.best(world, ENDOGENOUS_FIRST, short)
    return [
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


def _swap_claim(config: StudyConfig, errors: Errors) -> Claim:
    """Rank correlation of the swap score with true leakage over all models of a seed, in all worlds."""
    worlds = config.exogenous.worlds
    cells = [(world, method, errors.full(world)) for world, pair in worlds.items() for method in compared(pair)]
    correlations: Values = {}
    for seed in errors.leak(*cells[0]):
        scores = [errors.of("swap_score", *cell)[seed][0] for cell in cells]
        leaks = [errors.leak(*cell)[seed][0] for cell in cells]
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


def study() -> Study:
    """Do remedies take the background out of codes, and which one keeps the action in short prefixes?"""
    return Study(steps, conclude)

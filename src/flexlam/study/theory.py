"""What linear latent action models learn where the background moves, and which remedies help (arXiv 2605.20223)."""

from typing import Any

from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, Effect, above, below, mean_effect, non_inferior, paired_effect
from flexlam.study.config import StudyConfig, TheoryConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.pieces.linear import (
    CCA,
    CLEAR_GAP,
    CROSS,
    ENDOGENOUS,
    FIXED,
    IDLE,
    KINDS,
    MIXED,
    OBJECTIVES,
    RECONSTRUCTION,
    RIDGE,
    ROBUST,
    SAMPLED,
    SMALLEST,
    SUPERVISED,
    VARIANCE,
    additive_step,
    objective_step,
    slots_step,
    trained_step,
)
from flexlam.study.theory_shown import figures, tables

ACTION, LEAKAGE, EXCESS = "action_given_obs", "leakage", "excess_leakage"
REMEDIES = {CROSS: "cross", CCA: "cca", SUPERVISED: "supervised", ROBUST: "robust", MIXED: "mixed"}
"""Name -> how claims call it."""
_CLOSE = 1e-3  # of the objective, and of an NMSE: closed form and training agree
_SMALL, _LOST, _MUCH = 0.05, 0.9, 0.5


def steps(config: StudyConfig) -> list[Step]:
    """For each random world: every objective in closed form and trained, ordered slots, and additive noise."""
    wanted = []
    for seed in config.seeds:
        for name in OBJECTIVES:
            wanted += [objective_step(config.theory, name, seed), trained_step(config.theory, name, seed)]
        wanted += [slots_step(config.theory, seed), additive_step(config.theory, seed)]
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Which of the theory's statements hold in these worlds."""
    theory = config.theory
    if not found:
        return Outcome([], {}, {})
    claims = [
        *_training_claims(theory, found),
        *_tight_claims(theory, found),
        *_loose_claims(theory, found),
        *_violation_claims(theory, found),
        *_prefix_claims(theory, found),
        *_translator_claims(theory, found),
    ]
    return Outcome(claims, tables(theory, found), figures(theory, found))


def _mean(values: Values) -> Effect:
    return mean_effect(values)


def _training_claims(theory: TheoryConfig, found: Found) -> list[Claim]:
    """Closed forms are what training comes to."""
    cells = {
        f"{name}, d_z={dim}": _mean(found.values("excess", part="trained", method=name, latent_dim=dim))
        for name in OBJECTIVES
        for dim in theory.trained_dims
    }
    claims = [
        non_inferior(
            "trained-objective",
            f"gradient descent ends within {_CLOSE:g} of the closed form's objective",
            cells,
            _CLOSE,
            "shares of the objective",
        )
    ]
    differences = {seed: [max(values)] for seed, values in found.values("difference", part="trained").items()}
    if differences:
        claims.append(
            below(
                "trained-probes",
                f"and within {_CLOSE:g} of its probes where the eigengap is {CLEAR_GAP:.0%} or more (the largest)",
                _mean(differences),
                _CLOSE,
                "NMSE",
            )
        )
    agrees = found.values("agrees", method=RECONSTRUCTION)
    claims.append(
        above(
            "condition",
            "the eigenspace condition says rightly whether reconstruction leaks (share of worlds and sizes)",
            _mean(agrees),
            0.99,
            "share",
        )
    )
    return claims


def _tight_claims(theory: TheoryConfig, found: Found) -> list[Claim]:
    """As many latents as actions, and a background that moves more than the action."""
    loud: dict[str, Any] = {"part": "innovation", "exogenous_sd": max(theory.innovation_sds)}

    def effect(quantity: str, name: str) -> Effect:
        return _mean(found.values(quantity, method=name, **loud))

    claims = [
        above(
            "tight/reconstruction/loses-action",
            f"d_z = d_a, dominant background: action NMSE of {RECONSTRUCTION} above {_LOST:g}",
            effect(ACTION, RECONSTRUCTION),
            _LOST,
            "NMSE",
        ),
        above(
            "tight/reconstruction/leaks",
            f"d_z = d_a, dominant background: {RECONSTRUCTION} leaks more than .1 of the future innovation",
            effect(LEAKAGE, RECONSTRUCTION),
            0.1,
            "share",
        ),
    ]
    for name, short in REMEDIES.items():
        claims += [
            below(
                f"tight/{short}/keeps-action",
                f"d_z = d_a, dominant background: action NMSE of {name} below {_SMALL:g}",
                effect(ACTION, name),
                _SMALL,
                "NMSE",
            ),
            below(
                f"tight/{short}/is-tight",
                f"d_z = d_a, dominant background: {name} leaks less than {_SMALL:g} of the future innovation",
                effect(LEAKAGE, name),
                _SMALL,
                "share",
            ),
        ]
    return claims


def _loose_claims(theory: TheoryConfig, found: Found) -> list[Claim]:
    """Many more latents than actions: every objective is said to leak."""
    high, claims = max(theory.latent_dims), []
    for name in OBJECTIVES:
        for minimiser in (SMALLEST, IDLE) if name in (CROSS, CCA) else (SMALLEST,):
            values = found.values(LEAKAGE, part="latents", latent_dim=high, method=name, minimiser=minimiser)
            short = REMEDIES.get(name, RECONSTRUCTION) + ("/idle" if minimiser == IDLE else "")
            which = f" ({minimiser})" if name in (CROSS, CCA) else ""
            statement = f"d_z = {high}: {name}{which} leaks more than {_MUCH:g} of the future innovation"
            claims.append(above(f"loose/{short}/leaks", statement, _mean(values), _MUCH, "share"))
    return claims


def _violation_claims(theory: TheoryConfig, found: Found) -> list[Claim]:
    """The action goes with the background: with its innovation, or with what the policy sees of it."""
    low, high = min(theory.correlations), max(theory.correlations)
    claims = []
    for kind in KINDS:

        def values(quantity: str, name: str, correlation: float, kind: str = kind) -> Values:
            where = {"part": "correlation", "kind": kind, "twins": "conditional"}
            return found.values(quantity, method=name, correlation=correlation, **where)

        claims.append(
            below(
                f"violated/{kind}/reconstruction/action",
                f"{kind} correlation of {high:g} instead of {low:g} lowers the action NMSE of {RECONSTRUCTION}",
                paired_effect(values(ACTION, RECONSTRUCTION, high), values(ACTION, RECONSTRUCTION, low)),
                0.0,
                "NMSE",
            )
        )
        for name, short in REMEDIES.items():
            where = f"{kind} correlation of {high:g}"
            claims += [
                below(
                    f"violated/{kind}/{short}/action",
                    f"{where}: action NMSE of {name} still below {_SMALL:g}",
                    _mean(values(ACTION, name, high)),
                    _SMALL,
                    "NMSE",
                ),
                below(
                    f"violated/{kind}/{short}/leakage",
                    f"{where}: {name} leaks at most {_SMALL:g} more than the action itself tells",
                    _mean(values(EXCESS, name, high)),
                    _SMALL,
                    "share",
                ),
            ]
    return claims


def _prefix_claims(theory: TheoryConfig, found: Found) -> list[Claim]:
    """The first d_a of many ordered slots."""
    loud, quiet = max(theory.innovation_sds), min(theory.innovation_sds)

    def values(order: str, sd: float) -> Values:
        where = {"part": "prefix", "k": theory.world.action_dim, "order": order}
        return found.values(ACTION, exogenous_sd=sd, **where)

    return [
        above(
            "prefix/short-loses-action",
            f"the first d_a slots lose more of the action where the background moves more, by {_MUCH:g} or more",
            paired_effect(values(VARIANCE, loud), values(VARIANCE, quiet)),
            _MUCH,
            "NMSE",
        ),
        below(
            "prefix/endogenous-first",
            f"ordered by a robust target, the first d_a slots keep the action (NMSE below {_SMALL:g})",
            _mean(values(ENDOGENOUS, loud)),
            _SMALL,
            "NMSE",
        ),
    ]


def _translator_claims(theory: TheoryConfig, found: Found) -> list[Claim]:
    """What prefix sampling does to a translator of the whole code."""
    few, many, slots = min(theory.label_counts), max(theory.label_counts), max(theory.latent_dims)

    def difference(other: str, labels: int) -> Effect:
        where = {"part": "translator", "labels": labels, "k": slots}
        ours = found.values("error", translator=SAMPLED, **where)
        return paired_effect(ours, found.values("error", translator=other, **where))

    return [
        below(
            "translator/regularises",
            f"N = {few}, k = {slots}: prefix sampling has a lower error than least squares",
            difference(FIXED, few),
            0.0,
            "NMSE",
        ),
        below(
            "translator/beats-ridge",
            f"N = {few}, k = {slots}: prefix sampling has a lower error than tuned ridge",
            difference(RIDGE, few),
            0.0,
            "NMSE",
        ),
        above(
            "translator/costs",
            f"N = {many}, k = {slots}: prefix sampling has a higher error than least squares",
            difference(FIXED, many),
            0.0,
            "NMSE",
        ),
    ]


def study() -> Study:
    """What do linear latent action models learn where the background moves, and which remedies help?"""
    return Study(steps, conclude)

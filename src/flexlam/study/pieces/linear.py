"""Steps of the theory study: linear latent action models, measured exactly in random worlds."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from flexlam.core.seeding import numpy_generator
from flexlam.study.config import TheoryConfig
from flexlam.study.graph import Step, write_rows
from flexlam.theory.additive import LABEL_FRACTIONS, LATENT_DIMS, NOISE_SDS, additive_world, paper_supervision
from flexlam.theory.closed_form import LinearLAM, minimise, objective_value, spectrum, with_idle_latents
from flexlam.theory.descent import descend
from flexlam.theory.objectives import (
    ActionSupervision,
    CanonicalCorrelation,
    CrossExogenous,
    Objective,
    Reconstruction,
    RobustTarget,
)
from flexlam.theory.prefixes import (
    least_squares_translator,
    prefix_sampled_translator,
    reordered,
    translation_nmse,
    truncated,
    tuned_ridge_translator,
    uniform_prefixes,
)
from flexlam.theory.probes import HOLDS, Contents, contents, independence, nmse
from flexlam.theory.world import LinearWorld, WorldConfig, draw, random_world

RECONSTRUCTION, CROSS, CCA = "reconstruction", "cross-exogenous", "cross-exogenous, whitened (CCA)"
SUPERVISED, ROBUST, MIXED = "action supervision", "robust target", "cross-exogenous + reconstruction"
OBJECTIVES: dict[str, Objective] = {
    RECONSTRUCTION: Reconstruction(),
    CROSS: CrossExogenous(),
    CCA: CanonicalCorrelation(),
    SUPERVISED: ActionSupervision(),
    ROBUST: RobustTarget(),
    MIXED: CrossExogenous(reconstruction_share=0.1),
}
SMALLEST, IDLE = "smallest norm", "idle latents random"
KINDS = {"innovation": "innovation_correlation", "policy": "policy_correlation"}
VARIANCE, ENDOGENOUS = "by variance", "endogenous first"
SAMPLED, FIXED, RIDGE = "prefix-sampled", "least squares of this prefix", "tuned ridge of this prefix"
CLEAR_GAP = 0.05
"""Eigengap from which on a minimiser is unique enough for its probes to be compared."""


def objective_step(theory: TheoryConfig, name: str, seed: int) -> Step:
    """One objective over sizes of the background's innovation, numbers of latents, and violations of independence."""
    return _step("theory-objective", theory, _objective_rows, name, seed)


def trained_step(theory: TheoryConfig, name: str, seed: int) -> Step:
    """One objective's closed form beside its gradient-trained twin."""
    return _step("theory-trained", theory, _trained_rows, name, seed)


def slots_step(theory: TheoryConfig, seed: int) -> Step:
    """Ordered slots, read by probes and by translators."""
    return _step("theory-slots", theory, _slots_rows, "ordered slots", seed)


def additive_step(theory: TheoryConfig, seed: int) -> Step:
    """The setting of arXiv 2506.15691."""
    return _step("theory-additive", theory, _additive_rows, "additive noise", seed)


def _step(kind: str, theory: TheoryConfig, rows: Any, name: str, seed: int) -> Step:
    def work(step: Step, folder: Path, parents: list[Path]) -> None:
        write_rows(folder, list(rows(theory, name, seed)))

    objective: Any = OBJECTIVES.get(name)
    settings = {
        "theory": theory.model_dump(mode="json"),
        "objective": None if objective is None else [name, objective.model_dump(mode="json")],
        "seed": seed,
    }
    return Step(kind, work, settings, about={"method": name, "seed": seed})


def _world(config: WorldConfig, seed: int, **changes: Any) -> LinearWorld:
    """The world of a seed: whatever is changed, views, dynamics and pairings are the same."""
    return random_world(config.model_copy(update=changes), numpy_generator(seed, "theory", "world"))


def _measured(found: Contents) -> dict[str, float]:
    return {
        **asdict(found),
        "leakage": 1 - found.innovation_given_obs,
        "excess_leakage": found.innovation_from_action - found.innovation_given_obs,
    }


def _objective_rows(theory: TheoryConfig, name: str, seed: int) -> Iterator[dict[str, Any]]:
    objective, base = OBJECTIVES[name], theory.world
    for sd in theory.innovation_sds:
        world = _world(base, seed, exogenous_sd=sd)
        lam = minimise(objective.regression(world), base.action_dim)
        about = {"part": "innovation", "exogenous_sd": sd, "latent_dim": base.action_dim}
        yield {**about, **_measured(contents(world, lam)), **_condition(name, world, lam)}
    world = _world(base, seed)
    for dim in theory.latent_dims:
        for minimiser, lam in _minimisers(objective, world, dim, seed):
            about = {"part": "latents", "latent_dim": dim, "minimiser": minimiser}
            yield {**about, **_measured(contents(world, lam)), **_condition(name, world, lam)}
    for kind, setting in KINDS.items():
        for correlation in theory.correlations:
            for twins in ("conditional", "independent") if isinstance(objective, CrossExogenous) else ("conditional",):
                world = _world(theory.hard, seed, twins=twins, **{setting: correlation})
                lam = minimise(objective.regression(world), base.action_dim)
                about = {"part": "correlation", "kind": kind, "correlation": correlation, "twins": twins}
                yield {**about, **_measured(contents(world, lam))}
    if isinstance(objective, ActionSupervision):
        world = _world(base, seed)
        for fraction in theory.label_fractions:
            some = objective.model_copy(update={"label_fraction": fraction})
            lam = minimise(some.regression(world), base.action_dim)
            yield {"part": "labels", "label_fraction": fraction, **_measured(contents(world, lam))}


def _minimisers(objective: Objective, world: LinearWorld, dim: int, seed: int) -> Iterator[tuple[str, LinearLAM]]:
    """The one of smallest norm, and one whose idle latents hold anything."""
    lam = minimise(objective.regression(world), dim)
    yield SMALLEST, lam
    yield IDLE, with_idle_latents(lam, numpy_generator(seed, "theory", "idle", dim))


def _condition(name: str, world: LinearWorld, lam: LinearLAM) -> dict[str, Any]:
    """The condition for reconstruction to be free of leakage, and whether measurement agrees."""
    if name != RECONSTRUCTION:
        return {}
    found = independence(world, lam.latent_dim)
    leaks = nmse(world.innovation, lam.encoder @ world.inputs, world.obs) < 1 - HOLDS
    return {"condition_holds": float(found.holds), "miss": found.miss, "agrees": float(found.holds != leaks)}


def _trained_rows(theory: TheoryConfig, name: str, seed: int) -> Iterator[dict[str, Any]]:
    world = _world(theory.world, seed)
    regression = OBJECTIVES[name].regression(world)
    gains = spectrum(regression)
    for dim in theory.trained_dims:
        exact = minimise(regression, dim)
        found = descend(regression, dim, numpy_generator(seed, "theory", "descent", name, dim))
        best = objective_value(regression, exact)
        ours, theirs = contents(world, exact), contents(world, found.lam)
        differences = [
            abs(ours.action_given_obs - theirs.action_given_obs),
            abs(ours.innovation_given_obs - theirs.innovation_given_obs),
        ]
        yield {
            "part": "trained",
            "latent_dim": dim,
            "gap": gains.gap(dim),
            "excess": (found.objective - best) / best,
            "difference": max(differences) if gains.gap(dim) >= CLEAR_GAP else None,
            "leakage": 1 - ours.innovation_given_obs,
            "trained_leakage": 1 - theirs.innovation_given_obs,
            "steps": found.num_steps,
        }


def _slots_rows(theory: TheoryConfig, name: str, seed: int) -> Iterator[dict[str, Any]]:
    num_slots = max(theory.latent_dims)
    for sd in theory.innovation_sds:
        world = _world(theory.world, seed, exogenous_sd=sd)
        regression = Reconstruction().regression(world)
        lam = minimise(regression, num_slots)
        robust = RobustTarget().regression(world)
        for order, model in ((VARIANCE, lam), (ENDOGENOUS, reordered(lam, robust, regression))):
            for k in theory.latent_dims:
                short = truncated(model, k)
                error = objective_value(regression, short) / objective_value(regression, _nothing(short))
                found = contents(world, short)
                about = {"part": "prefix", "order": order, "exogenous_sd": sd, "k": k, "reconstruction": error}
                yield {**about, **_measured(found)}
    world = _world(theory.hard, seed)
    yield from _translator_rows(theory, world, minimise(Reconstruction().regression(world), num_slots), seed)


def _nothing(lam: LinearLAM) -> LinearLAM:
    """The same model without its latents, which hold nothing of the context."""
    return LinearLAM(lam.context, np.zeros_like(lam.decoder), lam.encoder)


def translated_lengths(theory: TheoryConfig) -> list[int]:
    """Prefix lengths at which translators are compared: as many slots as actions, and all."""
    return sorted({min(theory.world.action_dim, max(theory.latent_dims)), max(theory.latent_dims)})


def _translator_rows(theory: TheoryConfig, world: LinearWorld, lam: LinearLAM, seed: int) -> Iterator[dict[str, Any]]:
    """Translators from few labels to the action, on codes with a variance of 1 a slot (known without labels)."""
    z = lam.encoder @ world.inputs
    encoder = lam.encoder / np.linalg.norm(z, axis=1)[:, None]
    z, weights = encoder @ world.inputs, uniform_prefixes(lam.latent_dim)
    lengths = translated_lengths(theory)
    for count in theory.label_counts:
        for number in range(theory.num_draws):
            labels = draw(world, count, numpy_generator(seed, "theory", "labels", count, number))
            codes, action = labels.inputs @ encoder.T, labels.action
            sampled = prefix_sampled_translator(codes, action, weights)
            folds = numpy_generator(seed, "theory", "folds", count, number)
            for k in lengths:
                of_prefix = codes[:, :k]
                fitted = {
                    SAMPLED: sampled[:k],
                    FIXED: least_squares_translator(of_prefix, action),
                    RIDGE: tuned_ridge_translator(of_prefix, action, theory.penalties, theory.num_folds, folds),
                }
                for translator, found in fitted.items():
                    error = translation_nmse(found, z[:k], world.action)
                    about = {"part": "translator", "labels": count, "draw": number, "k": k}
                    yield {**about, "translator": translator, "error": error}


def _additive_rows(theory: TheoryConfig, name: str, seed: int) -> Iterator[dict[str, Any]]:
    for noise, sds in NOISE_SDS.items():
        for sd in sds:
            config = theory.additive.model_copy(update={"noise": noise, "noise_sd": sd})
            world = additive_world(config, numpy_generator(seed, "theory", "additive", noise))
            objectives: dict[float, Objective] = {0.0: Reconstruction()}
            objectives |= {fraction: paper_supervision(fraction) for fraction in LABEL_FRACTIONS}
            for fraction, objective in objectives.items():
                lam = minimise(objective.regression(world), max(LATENT_DIMS))
                for dim in LATENT_DIMS:
                    error = nmse(world.action, truncated(lam, dim).encoder @ world.inputs)
                    about = {"part": "additive", "noise": noise, "noise_sd": sd, "label_fraction": fraction}
                    yield {**about, "latent_dim": dim, "action": error}

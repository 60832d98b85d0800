"""Probes beside least squares on drawn transitions, and the condition for no leakage beside measured leakage."""

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.theory.closed_form import minimise
from flexlam.theory.maps import residual
from flexlam.theory.objectives import CrossExogenous, Reconstruction
from flexlam.theory.probes import contents, inconsistency, independence, nmse
from flexlam.theory.world import Draws, LinearWorld, WorldConfig, draw, random_world

NOISY = WorldConfig(
    obs_dim=10, action_dim=2, endogenous_dim=3, exogenous_dim=4, sensor_noise=0.2, angle=50, policy_share=0.3
)


def measured(target: np.ndarray, *read: np.ndarray) -> float:
    """Squared error of a probe fitted by least squares, of the same draws."""
    inputs = np.hstack(read)
    return float(np.sum((target - inputs @ np.linalg.lstsq(inputs, target, rcond=None)[0]) ** 2))


def test_probes_are_those_that_are_fitted_to_drawn_transitions() -> None:
    world = random_world(NOISY, np.random.default_rng(0))
    lam = minimise(Reconstruction().regression(world), 3)
    found, drawn = contents(world, lam), draw(world, 100_000, np.random.default_rng(1))
    z = drawn.inputs @ lam.encoder.T

    def share(target: np.ndarray, drawn: Draws) -> float:
        return measured(target, z, drawn.obs) / measured(target, drawn.obs)

    assert found.action_given_obs == pytest.approx(share(drawn.action, drawn), abs=0.01)
    assert found.innovation_given_obs == pytest.approx(share(drawn.innovation, drawn), abs=0.01)
    assert found.action == pytest.approx(measured(drawn.action, z) / np.sum(drawn.action**2), abs=0.01)
    from_action = measured(drawn.innovation, drawn.action, drawn.obs) / measured(drawn.innovation, drawn.obs)
    assert found.innovation_from_action == pytest.approx(from_action, abs=0.01)
    twin = np.hstack([drawn.twin_obs, drawn.twin_next_obs]) @ lam.encoder.T
    white = np.linalg.inv(np.linalg.cholesky(z.T @ z / len(z)))
    moved = np.mean(np.sum(((z - twin) @ white.T) ** 2, axis=1)) / (2 * 3)
    assert found.inconsistency == pytest.approx(moved, abs=0.01)


def test_probes_given_o_do_not_see_what_z_repeats_of_o_and_the_others_do() -> None:
    world = random_world(WorldConfig(exogenous_sd=0.2), np.random.default_rng(0))
    lam = minimise(Reconstruction().regression(world), 8)
    z = lam.encoder @ world.inputs
    repeats = z + np.random.default_rng(1).standard_normal((8, 64)) @ world.obs
    assert nmse(world.action, repeats, world.obs) == pytest.approx(nmse(world.action, z, world.obs), abs=1e-9)
    assert nmse(world.action, repeats) > nmse(world.action, z) + 0.3
    assert nmse(world.action, 0 * z) == 1 and nmse(world.action, world.action) == pytest.approx(0)
    assert nmse(world.endogenous, z, world.obs) == 1, "o leaves nothing of s open"


def test_latents_of_twins_are_the_same_without_leakage_alone() -> None:
    world = random_world(WorldConfig(), np.random.default_rng(0))
    for objective, differs in ((CrossExogenous(), 0.0), (Reconstruction(), 1.0)):
        lam = minimise(objective.regression(world), 8)
        assert contents(world, lam).inconsistency == pytest.approx(differs, abs=1e-9)
    assert inconsistency(np.zeros((2, 5)), np.zeros((2, 5))) == 0


def worlds() -> list[tuple[LinearWorld, int]]:
    """Random worlds of every kind, loud and quiet, orthogonal and not, with fewer and more latents than actions."""
    generator, found = np.random.default_rng(0), []
    for number in range(60):
        settings = {
            "obs_dim": 16,
            "action_dim": 3,
            "endogenous_dim": 4,
            "exogenous_dim": 5,
            "exogenous_sd": float(np.exp(generator.uniform(-3, 0.5))),
            "angle": float(generator.choice([90.0, 90.0, 90.0, 90.0, 30.0])),
            "innovation_correlation": float(generator.choice([0.0, 0.0, 0.0, 0.0, 0.6])),
            "policy_share": float(generator.choice([0.0, 0.4])),
        }
        found.append((random_world(WorldConfig.parse(settings), np.random.default_rng(number)), 1 + number % 4))
    return found


def test_the_condition_holds_exactly_where_nothing_leaks_and_its_miss_bounds_the_leakage() -> None:
    """z = Vᵀ r has the covariance Λ (top eigenvalues of Cov(r)); leakage is tr(Λ⁻¹ Vᵀ R R' V) with R = Cov(r, η)."""
    holding = 0
    for world, dim in worlds():
        found = independence(world, dim)
        lam = minimise(Reconstruction().regression(world), dim)
        leakage = 1 - contents(world, lam).innovation_given_obs
        assert found.holds == (leakage < 1e-6)
        holding += found.holds
        if found.within_rank and found.quiet and found.apart:
            assert found.holds, "together they suffice"
        residue = residual(world.next_obs, world.obs)
        variances = np.linalg.eigvalsh(residue @ residue.T)[::-1]
        etas = np.sum(world.innovation**2, axis=1)
        moved = residue @ (world.innovation / np.sqrt(etas)[:, None]).T
        scale = found.miss * np.sum(moved**2) / etas.sum()
        assert scale * etas.min() / variances[0] <= leakage + 1e-9
        assert leakage <= scale * etas.max() / variances[min(dim, 8) - 1] + 1e-9
    assert 10 < holding < 50, "both answers occur"


def test_each_part_of_the_condition_fails_on_its_own() -> None:
    def parts(dim: int = 8, **settings: float) -> tuple[bool, bool, bool, bool]:
        config = WorldConfig.parse({"spread": 1, "exogenous_sd": 0.5, **settings})
        found = independence(random_world(config, np.random.default_rng(0)), dim)
        return found.within_rank, found.quiet, found.apart, found.holds

    assert parts() == (True, True, True, True)
    assert parts(dim=9) == (False, False, True, False)
    assert parts(exogenous_sd=1.2) == (True, False, True, False)
    assert parts(angle=60) == (True, True, False, False)
    assert parts(innovation_correlation=0.3) == (True, True, False, False)


def test_what_does_not_vary_cannot_be_probed() -> None:
    world = random_world(WorldConfig(exogenous_sd=0), np.random.default_rng(0))
    with pytest.raises(DataError, match="does not vary"):
        nmse(world.innovation, world.action)
    with pytest.raises(DataError, match="does not move"):
        independence(world, 8)

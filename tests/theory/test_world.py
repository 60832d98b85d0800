"""Worlds: exact moments beside drawn ones, twins, settings that are refused."""

from typing import Any

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError
from flexlam.theory.maps import residual
from flexlam.theory.world import WorldConfig, draw, random_world

SMALL = {"obs_dim": 12, "action_dim": 3, "endogenous_dim": 4, "exogenous_dim": 5}


def world_of(seed: int = 0, **settings: Any):
    return random_world(WorldConfig.parse(SMALL | settings), np.random.default_rng(seed))


def test_moments_are_those_of_drawn_transitions() -> None:
    world = world_of(angle=40, sensor_noise=0.3, policy_share=0.2, innovation_correlation=0.5, policy_correlation=-0.4)
    drawn = draw(world, 60_000, np.random.default_rng(1))
    every = np.vstack([world.obs, world.next_obs, world.twin_obs, world.twin_next_obs, world.action, world.innovation])
    parts = (drawn.obs, drawn.next_obs, drawn.twin_obs, drawn.twin_next_obs, drawn.action, drawn.innovation)
    sampled = np.cov(np.hstack(parts), rowvar=False)
    exact = every @ every.T
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.abs((sampled - exact) / scale).max() < 0.025
    assert np.abs(drawn.obs @ world.endogenous_view).max() > 0


@pytest.mark.parametrize("twins", ["conditional", "independent"])
def test_twins_share_the_endogenous_and_have_a_background_of_their_own(twins: str) -> None:
    world = world_of(exogenous_sd=1.5, innovation_correlation=0.8, twins=twins)
    # With orthogonal views E' o is s, and F' o is ξ.
    s, twin_s = (world.endogenous_view.T @ x for x in (world.next_obs, world.twin_next_obs))
    np.testing.assert_allclose(s, twin_s, atol=1e-12)
    xi, twin_xi = (world.exogenous_view.T @ x for x in (world.next_obs, world.twin_next_obs))
    np.testing.assert_allclose(xi @ xi.T, twin_xi @ twin_xi.T, atol=1e-9)
    alike = np.abs(twin_xi @ world.action.T).max() > 0.1
    assert alike == (twins == "conditional"), "only these have what goes with the action"
    given = np.vstack([world.endogenous, world.action])
    assert np.abs(residual(xi, given) @ residual(twin_xi, given).T).max() < 1e-9


def test_settings_mean_what_they_say() -> None:
    world = world_of(innovation_correlation=0.6, policy_share=0.3, policy_correlation=0.5, spread=1, exogenous_sd=2)

    def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        scale = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
        return np.linalg.svd((one @ other.T) / scale, compute_uv=False)

    np.testing.assert_allclose(correlations(world.action, world.endogenous)[:3] ** 2, 0.3)
    np.testing.assert_allclose(correlations(world.action, world.exogenous)[:3], 0.5)
    noise = residual(world.action, np.vstack([world.endogenous, world.exogenous]))
    np.testing.assert_allclose(correlations(noise, world.innovation)[:3], 0.6)
    np.testing.assert_allclose(np.sum(world.innovation**2, axis=1), 4)
    np.testing.assert_allclose(np.sum(world.action**2, axis=1), 1)
    tilted = world_of(angle=35)
    cosines = np.linalg.svd(tilted.endogenous_view.T @ tilted.exogenous_view, compute_uv=False)
    np.testing.assert_allclose(np.rad2deg(np.arccos(cosines[:4])), 35)


def test_the_background_is_stationary() -> None:
    world = world_of(persistence=0.7)
    np.testing.assert_allclose(
        world.exogenous @ world.exogenous.T, world.next_exogenous @ world.next_exogenous.T, atol=1e-12
    )


@pytest.mark.parametrize(
    ("settings", "tells"),
    [
        ({"obs_dim": 8}, "obs_dim is 8; s and ξ need endogenous_dim \\+ exogenous_dim = 9"),
        ({"action_dim": 5}, "action_dim is 5, above endogenous_dim 4"),
        ({"policy_share": 0.9, "policy_correlation": 0.5}, r"policy_share \+ policy_correlation² is 1.15"),
        ({"innovation_correlation": 1.0}, "innovation_correlation: got 1.0"),
        ({"policy_correlation": -1.0}, "policy_correlation: got -1.0"),
        ({"angle": 0.0}, "angle: got 0.0"),
        ({"persistence": 1.0}, "persistence: got 1.0"),
    ],
)
def test_worlds_that_cannot_be_are_refused(settings: dict[str, float], tells: str) -> None:
    with pytest.raises(ConfigError, match=tells):
        world_of(**settings)


def test_no_transitions_cannot_be_drawn() -> None:
    with pytest.raises(DataError, match="0 transitions"):
        draw(world_of(), 0, np.random.default_rng(0))

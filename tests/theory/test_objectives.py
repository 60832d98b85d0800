"""Objectives: what equals what, and from where on a remedy works."""

import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.theory.closed_form import minimise, objective_value, spectrum
from flexlam.theory.objectives import (
    ActionSupervision,
    CanonicalCorrelation,
    CrossExogenous,
    Reconstruction,
    RobustTarget,
)
from flexlam.theory.probes import contents
from flexlam.theory.world import WorldConfig, draw, random_world

NOISY = WorldConfig(obs_dim=10, action_dim=2, endogenous_dim=3, exogenous_dim=4, sensor_noise=0.3, angle=50)


def test_the_whitened_objective_is_canonical_correlation_analysis_of_twins() -> None:
    """Canonical correlations from drawn transitions, by another road: SVD of Q_yᵀ Q_w of the centred data."""
    world = random_world(NOISY, np.random.default_rng(0))
    drawn = draw(world, 30_000, np.random.default_rng(1))

    def left(values: np.ndarray) -> np.ndarray:
        fitted = drawn.twin_obs @ np.linalg.lstsq(drawn.twin_obs, values, rcond=None)[0]
        return np.linalg.qr(values - fitted)[0]

    sampled = np.linalg.svd(left(drawn.twin_next_obs).T @ left(drawn.inputs), compute_uv=False)
    gains = spectrum(CanonicalCorrelation().regression(world)).gains
    np.testing.assert_allclose(np.sqrt(gains[:3]), sampled[:3], atol=0.02)


def test_cross_exogenous_with_nothing_but_pairs_of_themselves_is_reconstruction() -> None:
    world = random_world(NOISY, np.random.default_rng(0))
    own = spectrum(CrossExogenous(reconstruction_share=1).regression(world)).gains
    np.testing.assert_allclose(own, spectrum(Reconstruction().regression(world)).gains)
    half = CrossExogenous(reconstruction_share=0.5).regression(world)
    lam = minimise(half, 3)
    parts = [objective_value(CrossExogenous(reconstruction_share=s).regression(world), lam) for s in (0, 1)]
    assert objective_value(half, lam) == pytest.approx(np.mean(parts))


def test_supervision_works_once_labels_outweigh_the_background() -> None:
    """Orthogonal views, equal variances: the action's directions gain σ_a² + λp, the background's σ_η²."""
    world = random_world(WorldConfig(spread=1), np.random.default_rng(0))
    for fraction, lost in ((0.05, 1.0), (0.0585, 1.0), (0.0595, 0.0), (1.0, 0.0)):  # 2.62² = 1 + 100 p at p = .0586
        lam = minimise(ActionSupervision(weight=100, label_fraction=fraction).regression(world), 8)
        assert contents(world, lam).action_given_obs == pytest.approx(lost, abs=1e-9)


def test_a_clean_robust_target_has_the_action_as_its_rank_and_its_noise_is_no_signal() -> None:
    world = random_world(WorldConfig(), np.random.default_rng(0))
    assert spectrum(RobustTarget(contamination=0).regression(world)).rank == 8
    one, other = (spectrum(RobustTarget(noise=noise).regression(world)).gains for noise in (0.0, 2.0))
    np.testing.assert_allclose(one, other)
    target = RobustTarget(contamination=0, noise=0).regression(world).target[:, : world.obs.shape[1]]
    assert np.abs(target @ world.innovation.T).max() < 1e-12 < np.abs(target @ world.action.T).max()


def test_shares_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"label_fraction: got 1\.5"):
        ActionSupervision.parse({"label_fraction": 1.5})
    with pytest.raises(ConfigError, match=r"reconstruction_share: got -0\.1"):
        CrossExogenous.parse({"reconstruction_share": -0.1})

"""Prefixes: nested dropout beside training, other orders, translators beside brute force."""

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError
from flexlam.theory.closed_form import LinearLAM, minimise, objective_value
from flexlam.theory.descent import descend
from flexlam.theory.objectives import Reconstruction, RobustTarget
from flexlam.theory.prefixes import (
    full_code,
    least_squares_translator,
    prefix_sampled_translator,
    prefix_weights,
    reordered,
    translation_nmse,
    truncated,
    tuned_ridge_translator,
    uniform_prefixes,
)
from flexlam.theory.probes import contents, nmse
from flexlam.theory.world import WorldConfig, draw, random_world

SMALL = WorldConfig(obs_dim=9, action_dim=2, endogenous_dim=3, exogenous_dim=4, exogenous_sd=1.5, spread=3)


def test_weights_are_probabilities_of_being_kept() -> None:
    found = prefix_weights(np.array([0.1, 0.2, 0.3, 0.4]))
    np.testing.assert_allclose(found.single, [0.9, 0.7, 0.4])
    np.testing.assert_allclose(found.pairs, [[0.9, 0.7, 0.4], [0.7, 0.7, 0.4], [0.4, 0.4, 0.4]])
    np.testing.assert_allclose(uniform_prefixes(3).single, [0.75, 0.5, 0.25])
    for bad in ([0.5, 0.6], [1.5, -0.5], [1.0]):
        with pytest.raises(ConfigError, match=r"p\(k\) is"):
            prefix_weights(np.array(bad))


def test_nested_dropout_trains_the_ordered_closed_form() -> None:
    """Rippel et al. 2014: each slot, not only the space of all, is that of its eigenvector, up to sign."""
    regression = Reconstruction().regression(random_world(SMALL, np.random.default_rng(0)))
    lam = minimise(regression, 4)
    nested = descend(regression, 4, np.random.default_rng(1), uniform_prefixes(4), tolerance=1e-12).lam
    plain = descend(regression, 4, np.random.default_rng(1)).lam

    def alike(other: LinearLAM) -> np.ndarray:
        one, two = (x.decoder / np.linalg.norm(x.decoder, axis=0) for x in (lam, other))
        return np.abs(np.sum(one * two, axis=0))

    np.testing.assert_allclose(alike(nested), 1, atol=1e-4)
    assert alike(plain).min() < 0.9, "without dropout slots are mixed"
    for k in (1, 2, 3, 4):
        best = objective_value(regression, minimise(regression, k))
        assert objective_value(regression, truncated(nested, k)) == pytest.approx(best, rel=1e-4)
        assert objective_value(regression, truncated(lam, k)) == pytest.approx(best, rel=1e-9)
    for k in (0, 5):
        with pytest.raises(ConfigError, match=f"prefix_length is {k}"):
            truncated(lam, k)


def test_another_order_brings_the_action_forward_and_loses_nothing() -> None:
    world = random_world(WorldConfig(), np.random.default_rng(0))
    regression = Reconstruction().regression(world)
    lam = minimise(regression, 32)
    other = reordered(lam, RobustTarget().regression(world), regression)
    assert contents(world, truncated(lam, 8)).action_given_obs == pytest.approx(1)
    assert contents(world, truncated(other, 8)).action_given_obs == pytest.approx(0, abs=1e-9)
    assert objective_value(regression, other) == pytest.approx(objective_value(regression, lam), abs=1e-8)
    assert nmse(world.innovation, other.encoder @ world.inputs) == pytest.approx(0, abs=1e-9)
    clean = reordered(lam, RobustTarget(contamination=0).regression(world), regression)
    errors = [objective_value(regression, truncated(clean, k)) for k in range(8, 25)]
    assert (np.diff(errors, 2) > -1e-9).all(), "the rest is ordered by what it reconstructs"


def transitions(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(count)
    z = generator.standard_normal((count, 6))
    return z, z @ generator.standard_normal((6, 2)) + generator.standard_normal((count, 2))


@pytest.mark.parametrize("count", [4, 50])
def test_the_prefix_sampled_translator_minimises_the_mean_over_prefixes(count: int) -> None:
    z, action = transitions(count)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7))
    # Brute force: every example at every k, weighted by the root of p(k).
    roots = np.sqrt(probabilities)
    every = np.vstack([root * np.where(np.arange(6) < k, z, 0) for k, root in enumerate(roots)])
    targets = np.vstack([root * action for root in roots])
    brute = np.linalg.lstsq(every, targets, rcond=None)[0]
    np.testing.assert_allclose(prefix_sampled_translator(z, action, prefix_weights(probabilities)), brute, atol=1e-8)
    whole = prefix_sampled_translator(z, action, full_code(6))
    np.testing.assert_allclose(whole, least_squares_translator(z, action), atol=1e-8)


def test_ridge_takes_the_penalty_that_held_out_labels_prefer() -> None:
    z, action = transitions(12)
    generators = (np.random.default_rng(0) for _ in range(4))
    noise = np.random.default_rng(5).standard_normal((12, 2))
    strong = tuned_ridge_translator(z, noise, (1e-6, 100.0), 4, next(generators))
    assert np.abs(strong).max() < 0.02, "labels that are noise ask for the strongest penalty"
    exact = z @ np.ones((6, 2))
    weak = tuned_ridge_translator(z, exact, (1e-9, 100.0), 4, next(generators))
    np.testing.assert_allclose(weak, 1, atol=1e-5)
    with pytest.raises(ConfigError, match="give positive penalties"):
        tuned_ridge_translator(z, action, (), 4, next(generators))
    with pytest.raises(DataError, match="12 labels cannot be divided into 13 folds"):
        tuned_ridge_translator(z, action, (1.0,), 13, next(generators))


def test_a_translators_error_is_that_of_drawn_transitions() -> None:
    world = random_world(SMALL, np.random.default_rng(0))
    lam = minimise(Reconstruction().regression(world), 4)
    labels, test = (draw(world, count, np.random.default_rng(count)) for count in (20, 100_000))
    found = least_squares_translator(labels.inputs @ lam.encoder.T, labels.action)
    error = np.sum((test.action - test.inputs @ lam.encoder.T @ found) ** 2) / np.sum(test.action**2)
    assert translation_nmse(found, lam.encoder @ world.inputs, world.action) == pytest.approx(error, rel=0.02)
    with pytest.raises(DataError, match="got 3 codes and 2 actions"):
        least_squares_translator(np.zeros((3, 2)), np.zeros((2, 1)))

"""Descent: analytic gradients, determinism, and what happens when it is cut short."""

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, TrainingError
from flexlam.theory.closed_form import objective_value
from flexlam.theory.descent import _Loss, descend
from flexlam.theory.objectives import CrossExogenous
from flexlam.theory.prefixes import full_code, truncated, uniform_prefixes
from flexlam.theory.world import WorldConfig, random_world

CONFIG = WorldConfig(obs_dim=6, action_dim=2, endogenous_dim=3, exogenous_dim=3, sensor_noise=0.1, angle=50)
REGRESSION = CrossExogenous().regression(random_world(CONFIG, np.random.default_rng(0)))


@pytest.mark.parametrize("weights", [full_code(3), uniform_prefixes(3)], ids=["whole", "nested"])
def test_gradients_are_differences_of_losses(weights) -> None:
    loss = _Loss(REGRESSION, weights)
    flat = np.random.default_rng(0).standard_normal(sum(rows * columns for rows, columns in loss.shapes))
    _, gradient = loss(flat)
    for place in range(0, len(flat), 5):
        step = np.zeros_like(flat)
        step[place] = 1e-5
        slope = (loss(flat + step)[0] - loss(flat - step)[0]) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_what_is_reported_is_the_objective_of_the_model_that_is_returned() -> None:
    found = descend(REGRESSION, 3, np.random.default_rng(0))
    assert found.objective == pytest.approx(objective_value(REGRESSION, found.lam), rel=1e-9)
    nested = descend(REGRESSION, 3, np.random.default_rng(0), uniform_prefixes(3))
    none = objective_value(REGRESSION, type(nested.lam)(nested.lam.context, 0 * nested.lam.decoder, nested.lam.encoder))
    of_prefix = [none, *(objective_value(REGRESSION, truncated(nested.lam, k)) for k in (1, 2, 3))]
    assert nested.objective == pytest.approx(np.mean(of_prefix), rel=1e-9)


def test_the_same_seed_trains_the_same_model() -> None:
    one, same, other = (descend(REGRESSION, 2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.lam.encoder, same.lam.encoder)
    assert not np.allclose(one.lam.encoder, other.lam.encoder)


def test_training_that_is_cut_short_says_so() -> None:
    with pytest.raises(TrainingError, match="still falls after 5 steps"):
        descend(REGRESSION, 2, np.random.default_rng(0), max_steps=5)
    with pytest.raises(ConfigError, match="latent_dim is 7"):
        descend(REGRESSION, 7, np.random.default_rng(0))

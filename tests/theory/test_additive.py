"""The setting of arXiv 2506.15691: its result is that a linear LAM is a PCA of action effect and noise."""

from typing import Any

import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.theory.additive import AdditiveConfig, additive_world, paper_supervision
from flexlam.theory.closed_form import minimise
from flexlam.theory.objectives import Objective, Reconstruction
from flexlam.theory.probes import nmse

RECONSTRUCTION = Reconstruction()


def action_error(dim: int, objective: Objective = RECONSTRUCTION, **settings: Any) -> float:
    world = additive_world(AdditiveConfig.parse(settings), np.random.default_rng(0))
    return nmse(world.action, minimise(objective.regression(world), dim).encoder @ world.inputs)


@pytest.mark.parametrize("sd", [0.0, 0.5, 1.5])
def test_noise_everywhere_leaves_the_actions_directions_first_and_adds_to_them(sd: float) -> None:
    """PCA of X Xᵀ + σ² I: z = Xᵀ q + noise, so that the action's error is σ² / (1 + σ²)."""
    assert action_error(8, noise="iid", noise_sd=sd) == pytest.approx(sd**2 / (1 + sd**2), abs=1e-9)
    assert action_error(4, noise="iid", noise_sd=sd) == pytest.approx(1 - 0.5 / (1 + sd**2), abs=1e-9)


def test_structured_noise_takes_the_latents_once_it_is_larger_than_the_action() -> None:
    assert action_error(8, noise_sd=0.5) < 0.05
    assert action_error(8, noise_sd=2.0) > 0.9
    assert action_error(16, noise_sd=2.0) == pytest.approx(0, abs=1e-9)


def test_few_labels_of_weight_one_do_not_outweigh_loud_noise() -> None:
    for fraction in (0.01, 0.05, 0.1):
        assert action_error(8, paper_supervision(fraction), noise_sd=2.0) > 0.9
    assert action_error(8, paper_supervision(0.1), noise_sd=1.0) < action_error(8, noise_sd=1.0)


def test_z_is_a_difference_of_frames() -> None:
    """C = −D, which the paper also sets by hand ("CD_zero")."""
    world = additive_world(AdditiveConfig(noise_sd=0.5), np.random.default_rng(0))
    encoder = minimise(Reconstruction().regression(world), 8).encoder
    np.testing.assert_allclose(encoder[:, :128], -encoder[:, 128:], atol=1e-9)


def test_more_actions_than_dimensions_are_refused() -> None:
    with pytest.raises(ConfigError, match="action_dim is 9, above obs_dim 8"):
        additive_world(AdditiveConfig(obs_dim=8, action_dim=9), np.random.default_rng(0))

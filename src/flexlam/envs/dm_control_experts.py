"""Scripted experts of those dm_control tasks for which a simple rule is good: three linear controllers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from flexlam.envs.base import Reference

Expert = Callable[[Any], np.ndarray]
"""From dm_control's physics to an action (A,), which may lie beyond the bounds."""


def balance_pole(physics: Any) -> np.ndarray:
    """Push the cart under the pole, and slowly to the middle."""
    place, angle = physics.data.qpos
    speed, turning = physics.data.qvel
    return np.array([0.3 * place + 0.5 * speed + 6.0 * angle + 1.2 * turning])


def move_mass(physics: Any) -> np.ndarray:
    """Pull the mass to the target, against its velocity."""
    return 40.0 * physics.mass_to_target()[:2] - 8.0 * physics.data.qvel


def reach(physics: Any) -> np.ndarray:
    """Pull the finger to the target: the force on it as torques of the joints (Jacobian transposed), with damping."""
    finger = physics.named.data.geom_xpos["finger", :2]
    joints = np.stack([physics.named.data.xpos["arm", :2], physics.named.data.xpos["hand", :2]])
    arms = finger - joints  # (2, 2), from each joint to the finger
    force = physics.finger_to_target()
    torques = arms[:, 0] * force[1] - arms[:, 1] * force[0]
    return 60.0 * torques - 0.3 * physics.data.qvel


REFERENCES = {
    "cartpole-balance": Reference(999.71, 0.06, 296.78, 14.05, 20),
    "point_mass-easy": Reference(893.16, 8.27, 5.96, 5.94, 20),
    "reacher-easy": Reference(626.0, 76.59, 66.65, 14.87, 20),
}
"""Seeds 7000 to 7019, uniformly random actions; a test measures them anew. Gains were chosen on the seeds 0 to 7."""

EXPERTS: dict[str, Expert] = {
    "cartpole-balance": balance_pole,
    "point_mass-easy": move_mass,
    "reacher-easy": reach,
}

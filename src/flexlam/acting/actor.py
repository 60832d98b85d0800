"""Whoever chooses actions in running environments, several at once."""

from typing import Protocol

import numpy as np

from flexlam.envs.base import Environment


class Actor(Protocol):
    """Acts in a fixed number of slots, each of which holds one running environment."""

    def begin(self, slot: int, environment: Environment, seed: int) -> None:
        """An episode starts in a slot: forget the one before; everything random in it follows from the seed."""

    def act(self, frames: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Newest frames (B, H, W, C) uint8 of all slots -> actions (B, A) float32.

        Slots that are not `active` (B,) bool hold no episode now; their rows mean nothing.
        """

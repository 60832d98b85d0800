"""What the study of remedies has found, as errors and shares."""

import numpy as np

from flexlam.study.config import ExogenousConfig
from flexlam.study.found import Found, Values
from flexlam.study.pieces.remedies import compared

CHOSEN_ON, REPORTED = "chosen on", "reported"
"""Roles of recordings."""


class Errors:
    """What was found, as errors and shares by seed."""

    def __init__(self, config: ExogenousConfig, found: Found) -> None:
        self.found, self.short = found, config.prefix_length
        self._config = config

    @property
    def worlds(self) -> tuple[str, ...]:
        """By name."""
        return tuple(self._config.worlds)

    def methods(self, world: str) -> tuple[str, ...]:
        """What is compared there."""
        return compared(self._config.worlds[world])

    def full(self, world: str) -> int:
        """K."""
        return (self._config.worlds[world].lam or self._config.lam).lam.num_slots

    def action(self, world: str, method: str, k: int, role: str = REPORTED) -> Values:
        """Error of the best probe of the action; that of code and state counts, too."""
        return self._best(("action_linear_nmse", "action_mlp_nmse", "action_given_state_nmse"), world, method, k, role)

    def leak(self, world: str, method: str, k: int, role: str = REPORTED) -> Values:
        """Share of the future exogenous innovation that the better probe reads."""
        keys = ("exogenous_innovation_linear_nmse", "exogenous_innovation_mlp_nmse")
        return {s: [max(0.0, 1 - v) for v in values] for s, values in self._best(keys, world, method, k, role).items()}

    def of(self, key: str, world: str, method: str, k: int) -> Values:
        """Any other column."""
        return self.found.values(key, world=world, method=method, k=k, role=REPORTED)

    def best(self, world: str, methods: tuple[str, ...], k: int) -> str:
        """The method with the lowest action error plus leakage in the world for choosing."""

        def score(method: str) -> float:
            parts = (self.action(world, method, k, CHOSEN_ON), self.leak(world, method, k, CHOSEN_ON))
            return sum(float(np.mean([value for values in part.values() for value in values])) for part in parts)

        return min(methods, key=score)

    def _best(self, keys: tuple[str, ...], world: str, method: str, k: int, role: str) -> Values:
        found = [self.found.values(key, world=world, method=method, k=k, role=role) for key in keys]
        return {
            seed: [min(several) for several in zip(*(values[seed] for values in found if values), strict=True)]
            for seed in found[0]
        }

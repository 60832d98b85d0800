"""Figures made up for conclusions: five LAM seeds, a little noise, and a value for each combination of entries."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flexlam.study.found import Found, Measured


def made_up(
    value: Callable[..., float],
    about: Mapping[str, Sequence[Any]],
    rows: Mapping[str, Sequence[Any]],
    name: str = "action_loss",
    noise: float = 0.002,
) -> list[Measured]:
    """A step for each combination of `about` and each seed; in it a row for each combination of `rows`."""
    generator = np.random.default_rng(0)
    measured = []
    for seed in range(5):
        for of_step in _combinations(about):
            entries = [
                {**of_row, name: value(**of_step, **of_row) + generator.normal(0, noise)}
                for of_row in _combinations(rows)
            ]
            measured.append(Measured({**of_step, "seed": seed}, entries))
    return measured


def verdicts(conclude: Callable[..., Any], config: Any, measured: list[Measured]) -> dict[str, str]:
    """Claim -> verdict."""
    return {claim.id: claim.verdict for claim in conclude(config, Found(measured)).claims}


def _combinations(entries: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(entries, values, strict=True)) for values in itertools.product(*entries.values())]

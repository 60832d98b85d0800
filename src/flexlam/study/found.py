"""What finished steps have measured, and how to ask for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexlam.metrics.intervals import estimate
from flexlam.report.table import with_stderr

Values = dict[int, list[float]]
"""LAM seed -> values of its draws (or tasks), in the same order for every method."""


@dataclass(frozen=True)
class Measured:
    """A finished step: what it is about, its rows, and the CPU-seconds of the model it measured."""

    about: dict[str, Any]
    rows: list[dict[str, Any]]
    training_seconds: float = 0.0


class Found:
    """The rows of those LAM seeds of which every step is finished."""

    def __init__(self, measured: Sequence[Measured]) -> None:
        self.measured = measured
        self._rows = [{**entry.about, **row} for entry in measured for row in entry.rows]

    def __bool__(self) -> bool:
        return bool(self._rows)

    def values(self, name: str, **where: Any) -> Values:
        """What the rows with these entries (method, k, labels, task ...) say of one quantity, by seed."""
        found: Values = {}
        for row in self._rows:
            if row.get(name) is not None and all(row.get(key) == value for key, value in where.items()):
                found.setdefault(row["seed"], []).append(row[name])
        return found

    def of_seeds(self, name: str, **where: Any) -> list[float]:
        """One value a seed: the mean over draws."""
        return [sum(values) / len(values) for _, values in sorted(self.values(name, **where).items())]

    def cell(self, name: str, digits: int = 3, **where: Any) -> str:
        """Mean over seeds ± standard error, for a table; a dash where nothing was measured."""
        of_seeds = self.of_seeds(name, **where)
        if not of_seeds:
            return "–"
        found = estimate(of_seeds)
        return with_stderr(found.mean, found.stderr, digits)

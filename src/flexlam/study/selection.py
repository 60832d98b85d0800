"""Does the translator's validation loss tell which agent returns more? (FlexLAM App. A.6)"""

from collections.abc import Sequence

from matplotlib.axes import Axes

from flexlam.metrics.ranks import spearman
from flexlam.report.table import Table
from flexlam.study import returns
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import below, mean_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import panels, points
from flexlam.study.found import Found
from flexlam.study.graph import Step
from flexlam.study.methods import FIXED, FLEX
from flexlam.study.pieces.acting import AGENT


def steps(config: StudyConfig) -> list[Step]:
    """The agents of `returns`."""
    return returns.steps(config)


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Spearman's correlation inside each LAM seed, over its models and prefix lengths."""
    cells = [(method, k) for method in (FLEX, FIXED) for k in config.prefix_lengths]
    rows = tuple(
        (
            f"{method}, k = {k}",
            found.cell("validation_loss", method=method, k=k),
            found.cell("normalised", 2, method=method, actor=AGENT, k=k),
        )
        for method, k in cells
    )
    header = ("agent", "validation loss, nats", "normalised return")
    tables = {"Mean over LAM seeds ± standard error": Table(header, (rows,))}
    if not found:
        return Outcome([], tables, {})
    losses = [found.of_seeds("validation_loss", method=method, k=k) for method, k in cells]
    scores = [found.of_seeds("normalised", method=method, actor=AGENT, k=k) for method, k in cells]
    by_seed = {
        seed: [spearman([of[seed] for of in losses], [of[seed] for of in scores])] for seed in range(len(losses[0]))
    }
    claim = below(
        "loss-predicts-return",
        f"agents with a lower validation loss return more (Spearman's correlation over {len(cells)} agents a LAM seed)",
        mean_effect(by_seed),
        unit="Spearman's correlation",
    )

    def draw(axes: Axes, number: int) -> None:
        points(axes, {method: _cloud(method, cells, losses, scores) for method in (FLEX, FIXED)})

    figure = panels(["agents of all LAM seeds"], draw, "validation loss, nats", "normalised return", width=3.6)
    return Outcome([claim], tables, {"selection.svg": figure})


def _cloud(
    method: str, cells: Sequence[tuple[str, int]], x: Sequence[Sequence[float]], y: Sequence[Sequence[float]]
) -> list[tuple[float, float]]:
    chosen = [number for number, cell in enumerate(cells) if cell[0] == method]
    return [pair for number in chosen for pair in zip(x[number], y[number], strict=True)]


def study() -> Study:
    """Does the validation loss predict the return?"""
    return Study(steps, conclude)

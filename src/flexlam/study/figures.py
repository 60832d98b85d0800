"""Figures of studies: files of their own, readable on a white and on a dark page."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flexlam.metrics.intervals import estimate

_STYLE: Any = {
    "backend": "agg",
    "svg.hashsalt": "flexlam",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
}
_LONG_LEGEND = 5  # entries that find room in a corner
_COLOURS = ("#1f5fa8", "#c0392b", "#7f7f7f", "#2e8b57", "#8e6bbf", "#d98c00", "#111111")


def panels(
    titles: Sequence[str], draw: Callable[[Axes, int], None], x_label: str, y_label: str, width: float = 2.7
) -> str:
    """One axes a title, side by side with a common vertical scale; as SVG.

    The legend is that of the first, and stands beside all of them where it is long: no corner is free for it.
    """
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        figure = Figure(figsize=(width * len(titles) + 0.4, 2.9), layout="constrained", facecolor="white")
        every = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for number, (axes, title) in enumerate(zip(every, titles, strict=True)):
            draw(axes, number)
            axes.set_title(title, fontsize=9, loc="left", fontweight="bold")
            axes.set_xlabel(x_label)
        every[0].set_ylabel(y_label)
        handles, labels = every[0].get_legend_handles_labels()
        if len(labels) > _LONG_LEGEND:
            figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
        else:
            every[0].legend(frameon=False, fontsize=8)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def curves(axes: Axes, x: Sequence[float], series: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Means over seeds with their standard errors; `series` is name -> for each x the values of the seeds."""
    for (name, values), colour in zip(series.items(), _COLOURS, strict=False):
        found = [estimate(of_seeds) for of_seeds in values]
        means = np.array([entry.mean for entry in found])
        errors = np.nan_to_num([entry.stderr for entry in found])
        axes.plot(x, means, color=colour, marker="o", label=name)
        axes.fill_between(x, means - errors, means + errors, color=colour, alpha=0.18, linewidth=0)


def points(axes: Axes, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """A cloud of points (x, y) for each name."""
    for (name, pairs), colour in zip(series.items(), _COLOURS, strict=False):
        x, y = zip(*pairs, strict=True) if pairs else ((), ())
        axes.scatter(x, y, color=colour, s=14, alpha=0.8, linewidth=0, label=name)


def logarithmic(axes: Axes, ticks: Sequence[int]) -> None:
    """A logarithmic axis with these ticks and no others."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()

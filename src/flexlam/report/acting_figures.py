"""Charts of how the agent acts: return and milliseconds over prefix length."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from flexlam.report.charts import (
    ACCENT,
    ACCENT_SOFT,
    INK,
    LINE,
    MUTED,
    baseline_lines,
    chart,
    place,
    prefix_axis,
    right_labels,
)
from flexlam.report.inputs import BLIND_CONTROLS, RETURN_GROUPS, Latency, Returns, ReturnScore, TaskReturns

_SHORT_NAMES = {
    "random": "random",
    "constant": "constant",
    "marginal": "marginal",
    "markov": "Markov",
    "shuffled": "shuffled",
    "cloning_same_labels": "BC, same labels",
    "idm_cloning": "IDM + BC",
    "cloning": "BC, all labels",
    "recorded": "recorded",
    "expert": "expert",
}
_SHADES = ((MUTED, 0.35), (MUTED, 0.7), (ACCENT_SOFT, 1.0), (ACCENT, 1.0), (LINE, 1.0), (MUTED, 1.0))


def return_figures(returns: Returns) -> list[str]:
    """Return of each task over prefix length, normalised where there is a reference; controls and ceilings as lines."""
    return [_returns(task) for task in returns.tasks]


def latency_figures(latency: Latency) -> list[str]:
    """Milliseconds of a decision over prefix length, part upon part, and the fitted line."""
    rows, fit = latency.rows, latency.fit
    lengths = np.array([row.k for row in rows])
    parts = list(dict.fromkeys(part for row in rows for part in row.parts_ms))

    def draw(axes: Axes) -> None:
        heights = np.array([[row.parts_ms.get(part, 0.0) for row in rows] for part in parts])
        if parts:
            shades = [_SHADES[number % len(_SHADES)] for number in range(len(parts))]
            axes.stackplot(lengths, heights, colors=shades, linewidth=0)
        if fit:
            line = np.array([0, lengths[-1]])
            axes.plot(line, fit.c_ms + fit.b_ms * line, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        for row in rows:
            seen = not fit or not fit.fitted_on or row.k in fit.fitted_on
            axes.plot(row.k, row.mean_ms, "o", color=INK, markerfacecolor=INK if seen else "none")
        axes.set_xlim(-0.02 * lengths[-1], 1.02 * max(lengths[-1], 1))
        axes.set_ylim(0, 1.08 * max(row.mean_ms for row in rows))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("predicted slots k")
        middles = {part: float(heights[:n, -1].sum() + heights[n, -1] / 2) for n, part in enumerate(parts)}
        right_labels(axes, middles, leaders=True)

    words = f"fit {fit.c_ms:.2f} + {fit.b_ms:.3f} k ms" if fit else "mean"
    return [chart(draw, "Time of a decision", f"Milliseconds; {words}", right=0.76)]


def _returns(task: TaskReturns) -> str:
    normalised = all(row.normalised is not None for row in task.rows)

    def value(score: ReturnScore) -> float:
        found = score.normalised if normalised else score.return_
        return np.nan if found is None else found

    def draw(axes: Axes) -> None:
        lengths = [row.k for row in task.rows]
        values = [value(row) for row in task.rows]
        errors = [(row.normalised_stderr if normalised else row.return_stderr) or 0.0 for row in task.rows]
        axes.errorbar(place(lengths), values, errors, color=ACCENT, marker="o", capsize=2.5, elinewidth=1.2, zorder=3)
        shown = {name: value(task.baselines[key]) for key, name in _drawn(task).items()}
        levels = {name: level for name, level in shown.items() if np.isfinite(level)}
        ceilings = [_SHORT_NAMES[key] for key in RETURN_GROUPS["ceilings"]]
        baseline_lines(axes, levels, solid=ceilings, leaders=True)
        prefix_axis(axes, lengths)

    measure = "0: random actions, 1: expert" if normalised else "Mean over episodes"
    return chart(draw, f"Return, {task.task}", f"{measure}; higher is better", right=0.66)


def _drawn(task: TaskReturns) -> dict[str, str]:
    """Baselines drawn as lines: of the blind controls the best, and not k = 0, which is on the curve."""
    blind = [key for key in BLIND_CONTROLS if key in task.baselines]
    best = max(blind, key=lambda key: task.baselines[key].return_, default="")
    drawn = {key: name for key, name in _SHORT_NAMES.items() if key in task.baselines}
    return {
        key: f"blind ({name})" if key == best else name
        for key, name in drawn.items()
        if key not in blind or key == best
    }

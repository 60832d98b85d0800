"""Charts as inline SVG that takes its colours and type from the page, so that it follows light and dark."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from flexlam.report.charts import (
    ACCENT,
    ACCENT_SOFT,
    baseline_lines,
    chart,
    is_labelled,
    place,
    prefix_axis,
    right_labels,
)
from flexlam.report.inputs import HealthSummary, Results, Score

_SHORT_NAMES = {
    "previous_action": "prev. action",
    "repeat_previous": "repeat prev.",
    "idm": "IDM",
    "idm_previous_action": "IDM + prev.",
    "shuffled": "shuffled",
    "copy": "copy",
}
_MEASURES = {
    "": "error",
    "error over copy": "squared error relative to copying",
    "mse": "squared error",
    "psnr": "PSNR in dB",
}
_VALIDATION_PREFIX = re.compile(r"^validation/(?P<name>.*?)(?P<k>\d+)$")


def quality_figures(results: Results) -> list[str]:
    """PSNR, action loss and accuracy over prefix length, baselines as lines; only what was measured."""
    figures = [
        _quality(results, "psnr", "Decoded next frame", "PSNR in dB; higher is better"),
    ]
    if results.aligned:
        figures.append(_quality(results, "action_loss", "Translator, loss", "Action loss; lower is better"))
    if all(row.action_accuracy is not None for row in results.rows):
        note = "Share of right actions in %; higher is better"
        figures.append(_quality(results, "action_accuracy", "Translator, accuracy", note, scale=100))
    return figures


def usage_figures(health: HealthSummary) -> list[str]:
    """Codes and entropy of every slot, and the decoding error of each prefix beside that of copying."""
    slots = [slot.slot for slot in health.slots]

    def codes(axes: Axes) -> None:
        axes.bar(slots, [slot.codes_used for slot in health.slots], color=ACCENT_SOFT, width=0.8)
        axes.bar(slots, [slot.perplexity for slot in health.slots], color=ACCENT, width=0.45)
        _slot_axis(axes, slots)

    def bits(axes: Axes) -> None:
        axes.bar(slots, [slot.bits for slot in health.slots], color=ACCENT, width=0.6)
        baseline_lines(axes, {"nominal": health.bits_nominal / len(slots)})
        axes.set_ylim(bottom=0)
        _slot_axis(axes, slots)

    def error(axes: Axes) -> None:
        lengths = sorted(health.prefix_curve)
        axes.plot(place(lengths), [health.prefix_curve[k] for k in lengths], color=ACCENT, marker="o")
        baseline_lines(axes, {"copying": 1.0})
        prefix_axis(axes, lengths)

    figures = [
        chart(codes, "Codes per slot", "Light: seen at all; dark: effective number"),
        chart(bits, "Bits per slot", "Entropy of each slot by itself", right=0.8),
    ]
    if len(health.prefix_curve) > 1:
        figures.append(chart(error, "Decoding error", "Squared error relative to copying", right=0.8))
    return figures


def training_figures(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Training loss over steps; the validation figure of each prefix (keys validation/NAME<k>) over steps."""
    loss = [(row["step"], row["loss"]) for row in metrics if "step" in row and _is_number(row.get("loss"))]
    name, curves = _validation_prefixes(metrics)

    def training(axes: Axes) -> None:
        axes.plot(*np.array(loss, dtype=float).T, color=ACCENT)
        axes.set_ylim(bottom=0)
        _step_axis(axes)

    def validation(axes: Axes) -> None:
        ends: dict[str, float] = {}
        for order, k in enumerate(sorted(curves)):
            shade = 0.4 + 0.6 * order / (len(curves) - 1)
            axes.plot(*np.array(curves[k], dtype=float).T, color=ACCENT, alpha=shade)
            if is_labelled(k, curves):
                ends[f"k = {k}"] = curves[k][-1][1]
        right_labels(axes, ends)
        _step_axis(axes)

    figures = []
    if len(loss) > 1:
        figures.append(chart(training, "Training loss", "Retained prefixes drawn at random"))
    if curves:
        figures.append(chart(validation, "Each prefix over time", f"Validation: {name}", right=0.84))
    return figures


def _quality(results: Results, column: str, title: str, note: str, scale: float = 1) -> str:
    def draw(axes: Axes) -> None:
        lengths = [row.k for row in results.rows]
        values = [scale * getattr(row, column) for row in results.rows]
        errors = [scale * (getattr(row, f"{column}_stderr") or 0.0) for row in results.rows]
        axes.errorbar(place(lengths), values, errors, color=ACCENT, marker="o", capsize=2.5, elinewidth=1.2, zorder=3)
        baseline_lines(axes, _levels(results.baselines, column, scale))
        prefix_axis(axes, lengths)

    return chart(draw, title, note, right=0.76)


def _levels(baselines: Mapping[str, Score], column: str, scale: float) -> dict[str, float]:
    """Baselines drawn as lines: k = 0 is on the curve already, and equal lines are drawn once."""
    levels: dict[str, float] = {}
    for name, short in _SHORT_NAMES.items():
        value = getattr(baselines[name], column) if name in baselines else None
        if value is not None and scale * value not in levels.values():
            levels[short] = scale * value
    return levels


def _validation_prefixes(
    metrics: Sequence[Mapping[str, Any]],
) -> tuple[str, dict[int, list[tuple[float, float]]]]:
    """The validation figure that is logged for the most prefix lengths, each over two steps at least."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for row in metrics:
        for key, value in row.items():
            match = _VALIDATION_PREFIX.match(key)
            if match and "step" in row and _is_number(value):
                series = found.setdefault(match["name"], {}).setdefault(int(match["k"]), [])
                series.append((row["step"], value))
    whole = {name: {k: s for k, s in group.items() if len(s) > 1} for name, group in found.items()}
    name = max(whole, key=lambda name: len(whole[name]), default="")
    if len(whole.get(name, {})) < 2:
        return "", {}
    words = re.sub(r"([\W_]+|^)(k|prefix)?[\W_]*$", "", name).replace("_", " ")
    return _MEASURES.get(words, words), whole[name]


def _slot_axis(axes: Axes, slots: Sequence[int]) -> None:
    every = -(-len(slots) // 8)
    axes.set_xticks(slots[every - 1 :: every])
    axes.set_xlabel("slot")


def _step_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
    axes.set_xlim(left=0)
    axes.set_xlabel("step")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and bool(np.isfinite(value))


def standalone_svg(figures: Sequence[str]) -> str:
    """The figures of a page side by side in one file of their own, on white."""
    width, height = 266.4, 201.6  # of each figure, in points
    colours = "--ink:#16181d;--muted:#565d68;--line:#dcdfe4;--accent:#155e8f;--accent-soft:#b5d0e2"
    sans = "--sans:system-ui,'DejaVu Sans',sans-serif"
    inner = "".join(
        figure.replace("<svg", f'<svg x="{number * width}" y="6" width="{width}" height="{height}"', 1)
        for number, figure in enumerate(figures)
    )
    size = f'viewBox="0 0 {len(figures) * width} {height + 12}"'
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return f'<svg {spaces} {size} style="{colours};{sans}">{ground}{inner}</svg>\n'

"""What charts are made of: one style, axes over prefix lengths, labels beside lines, SVG that fits into a page."""

import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

# Colours that matplotlib writes down and `_embeddable` replaces by the page's variables.
INK, MUTED, LINE, ACCENT, ACCENT_SOFT = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    ACCENT: "--accent",
    ACCENT_SOFT: "--accent-soft",
}
_STYLE: Any = {
    "backend": "agg",
    "svg.fonttype": "none",
    "svg.hashsalt": "flexlam",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": MUTED,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.color": LINE,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}


def chart(draw: Callable[[Axes], None], title: str, note: str, right: float = 0.97) -> str:
    """Draw into a figure of one size and make the SVG fit to stand among others in a page."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        figure = Figure(figsize=(3.7, 2.8))
        figure.text(0.005, 0.94, title, color=INK, fontsize=10, fontweight="bold")
        figure.text(0.005, 0.865, note)
        axes = figure.add_axes((0.13, 0.18, right - 0.13, 0.61))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
    return _embeddable(file.getvalue(), title, f"{title}. {note}.")


def _embeddable(text: str, title: str, description: str) -> str:
    """Strip what only a file of its own needs; colours and type become the page's."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    mark = re.sub(r"\W+", "-", title.lower())  # ids must be unique in the page, not only in a figure
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{mark}-", text)
    text = re.sub(r"font-family: [^;\"]+", "font-family: var(--sans)", text)
    text = re.sub(r"(font: (?:\S+ )*?[\d.]+px) [^;\"]+", r"\1 var(--sans)", text)  # matplotlib before 3.11
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1).strip()


def place(lengths: Sequence[int]) -> np.ndarray:
    """Prefix lengths on a logarithmic axis that has room for zero."""
    places: np.ndarray = np.log2(np.asarray(lengths) + 1)
    return places


def is_labelled(k: int, lengths: Collection[int]) -> bool:
    """Whether a prefix length gets its number: 0, powers of two and the longest."""
    return k == max(lengths) or k & (k - 1) == 0


def prefix_axis(axes: Axes, lengths: Sequence[int]) -> None:
    """A logarithmic axis; values stand at `place(lengths)`."""
    ticks = [k for k in lengths if is_labelled(k, lengths)]
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(place(ticks), [str(k) for k in ticks])
    axes.set_xlabel("retained slots k")


def baseline_lines(axes: Axes, levels: Mapping[str, float], solid: Collection[str] = (), leaders: bool = False) -> None:
    """Level lines, named at the right; dashed but for those in `solid`."""
    for name, value in levels.items():
        axes.axhline(value, color=MUTED, linewidth=1, linestyle="-" if name in solid else (0, (3, 2)))
    axes.margins(y=0.12)
    right_labels(axes, levels, leaders)


def right_labels(axes: Axes, levels: Mapping[str, float], leaders: bool = False) -> None:
    """Names beside the right edge, pushed apart where they would touch; leaders join the pushed to their values."""
    axes.autoscale_view()
    low, high = axes.get_ylim()
    where = axes.get_yaxis_transform()  # x as a share of the axes, y in data
    names = sorted(levels, key=lambda name: levels[name])
    places = spread([levels[name] for name in names], 0.08 * (high - low), high)
    for name, height in zip(names, places, strict=True):
        start = 1.07 if leaders else 1.02
        axes.annotate(name, (start, height), xycoords=where, va="center", fontsize=8, annotation_clip=False)
        if leaders:
            ends = (levels[name], height)
            line = Line2D((1.005, 1.055), ends, color=MUTED, linewidth=0.5, transform=where, clip_on=False)
            axes.add_artist(line)  # and not a plot, which would stretch the axes


def spread(values: Sequence[float], gap: float, high: float) -> list[float]:
    """Rising values moved so that neighbours keep a gap: up, and down again where they would rise above `high`."""
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap) if places else value)
    above = max(high, *values, -np.inf) + gap
    for number in reversed(range(len(places))):
        above = places[number] = min(places[number], above - gap)
    return places

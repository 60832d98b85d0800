"""The page about leakage: what can be read from codes, what they tell of what is none of the agent's, with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from flexlam.core.files import write_text
from flexlam.report.charts import ACCENT, MUTED, baseline_lines, chart, place, prefix_axis, right_labels
from flexlam.report.document import date, document, figures, header, made, section, tables, verdict_box
from flexlam.report.sweeps import Picture, Strip, amplification, check_sweep, sweeps_html
from flexlam.report.table import NOT_MEASURED, Table, with_stderr

TARGETS = {
    "action": "action",
    "endogenous_state": "endogenous state",
    "endogenous_change": "endogenous change",
    "exogenous_state": "exogenous state",
    "exogenous_innovation": "exogenous innovation",
}
"""What probes read, by its name in the rows."""
_REACTIONS = {
    "swap_score": "swap score",
    "twin_score": "twin score",
    "twin_agreement": "twins' codes alike",
    "cut_explained": "cut explained",
    "delta_psnr": "ΔPSNR, dB",
    "action_cycle_nmse": "action after transfer, NMSE",
    "endogenous_error": "error / copy, endogenous",
    "exogenous_error": "error / copy, exogenous",
    "bits_used": "bits used",
}
_STATES = {
    "tells of the action": "good",
    "hardly tells of pasted motion": "good",
    "does not tell of the background": "good",
    "tells of the action and of the background": "warn",
    "tells of neither": "warn",
}


@dataclass(frozen=True)
class MoveElsewhere:
    """A transition, decoded from its own code and from that of the same move elsewhere; frames (H, W, C) uint8."""

    task: str
    obs: np.ndarray
    next_obs: np.ndarray
    own: np.ndarray
    """What the decoder makes of o_t and the transition's own code."""
    other: np.ndarray
    """What it makes of o_t and the code of the same transition before another background, or with another clip."""

    def pictures(self) -> list[Picture]:
        """Both."""
        return [
            Picture("own code", "decoded from its own code", self.own),
            Picture("other’s code", "decoded from the code of the same move elsewhere", self.other),
        ]


def probes_table(rows: Sequence[Mapping[str, Any]], chance: Mapping[str, float]) -> Table:
    """What was read at every k: NMSE of linear and nonlinear probes, and shares of right actions."""
    columns: list[tuple[str, str]] = []
    for target, words in TARGETS.items():
        for kind, short in (("linear", "linear"), ("mlp", "network")):
            if any(f"{target}_{kind}_nmse" in row for row in rows):
                columns.append((f"{target}_{kind}_nmse", f"{words}, {short}"))
    if any("action_given_state_nmse" in row for row in rows):
        columns.append(("action_given_state_nmse", "action, given the state"))
    kinds = (("linear", "linear"), ("mlp", "network"), ("given_state", "given the state"))
    right = [(f"action_{kind}_accuracy", short) for kind, short in kinds]
    right = [(key, f"right, %, {short}") for key, short in right if any(key in row for row in rows)]
    lines = tuple(
        (
            f"k = {row['k']}",
            *(with_stderr(row.get(key), row.get(f"{key}_stderr"), 3) for key, _ in columns),
            *(with_stderr(row.get(key), None, 1, scale=100) for key, _ in right),
        )
        for row in rows
    )
    guess = [with_stderr(chance.get("action_accuracy"), None, 1, scale=100) for _ in right]
    groups = (lines, (("guessing", *("1.000" for _ in columns), *guess),))
    return Table(("slots", *(words for _, words in (*columns, *right))), groups)


def reactions_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """How codes react and decode at every k."""
    columns = {key: words for key, words in _REACTIONS.items() if any(key in row for row in rows)}
    lines = tuple(
        (f"k = {row['k']}", *(_number(row.get(key), 1 if key == "bits_used" else 3) for key in columns)) for row in rows
    )
    return Table(("slots", *columns.values()), (lines,))


def leakage_figures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is read of the action and of the coming background over k; the reactions over k."""
    lengths = [row["k"] for row in rows]

    def curve(axes: Axes, key: str, words: str, colour: str, ends: dict[str, float]) -> None:
        if all(key in row for row in rows):
            values = [row[key] for row in rows]
            axes.plot(place(lengths), values, color=colour, marker="o")
            ends[words] = values[-1]

    def read(axes: Axes) -> None:
        ends: dict[str, float] = {}
        for target, words, colour in (("action", "action", ACCENT), ("exogenous_innovation", "background", MUTED)):
            kind = "mlp" if any(f"{target}_mlp_nmse" in row for row in rows) else "linear"
            curve(axes, f"{target}_{kind}_nmse", words, colour, ends)
        axes.set_ylim(bottom=0)
        baseline_lines(axes, {"nothing": 1.0})
        right_labels(axes, ends)
        prefix_axis(axes, lengths)

    def reaction(axes: Axes) -> None:
        ends: dict[str, float] = {}
        curve(axes, "swap_score", "swap", ACCENT, ends)
        curve(axes, "cut_explained", "cut", MUTED, ends)
        axes.set_ylim(bottom=min(0.0, *ends.values()))
        right_labels(axes, ends)
        prefix_axis(axes, lengths)

    drawn = []
    if any(f"{target}_linear_nmse" in row for target in ("action", "exogenous_innovation") for row in rows):
        drawn.append(chart(read, "What is read", "NMSE; 1 is nothing, 0 everything", right=0.78))
    drawn.append(
        chart(reaction, "What codes make up", "Share of the error taken away: in texture, of a cut", right=0.85)
    )
    return drawn


def write_leakage(path: Path, results: Mapping[str, Any], transitions: Sequence[MoveElsewhere]) -> None:
    """Write the page; `results` is what `measure_probes` gives, with the record of the measurement.

    Raises:
        DataError: a frame cannot be pictured.
        OutputError: the disk is full or the place cannot be written.
    """
    strips: list[Strip] = list(transitions)
    for strip in strips:
        check_sweep(strip)
    rows, verdict = results["rows"], results["verdict"]
    gain = amplification(strips)
    read_note = (
        "Probes are fitted on training episodes and scored on test episodes: normalised squared error, 1 where nothing "
        "is read. The exogenous innovation is what the present background does not foretell of the next one: a code "
        "that tells of it leaks the future."
    )
    react_note = (
        "Swap score: moving texture is pasted over a part of both frames; the share of the decoding error in it that "
        "the code takes away, against the code under another texture. Twin score and agreement: the same move before "
        "another background. Cut explained: how much of a frame of another video a code lets the decoder make up. "
        "ΔPSNR: own codes over codes of other transitions. "
        "Errors are over those of copying the present frame, in either region of the picture."
    )
    picture_note = (
        "A transition, what the decoder makes of its own code, and what it makes of the code of the same move before "
        "another background (without a twin: with another clip pasted in). Where codes tell of the action alone, the "
        f"two look alike. Below: the difference to the next frame, {gain} times amplified."
    )
    sections = [
        section("Verdict", "", verdict_box(_STATES.get(verdict, "bad"), verdict, f"{results['reason']}.")),
        section("What is read", read_note, figures(leakage_figures(rows)) + _probes(rows, results["chance"])),
        section("What codes react to, and make up", react_note, tables(reactions_table(rows))),
        section("Pictures", picture_note, sweeps_html(strips, gain, "Transition")) if strips else "",
        made(
            results["command"],
            results["created"],
            {
                **{name.replace("_", " "): value for name, value in results["machine"].items()},
                "configuration": results["config_hash"],
                "data": results["data_hash"],
                **{f"parent: {name}": value for name, value in results["parent_hashes"].items()},
            },
        ),
    ]
    over = ("flexlam probes", date(results["created"]))
    sentences = (f"This model {verdict}.", f"At k = {rows[-1]['k']}, {results['reason']}.")
    write_text(path, document("flexlam: actions or background?", header(over, sentences), sections))


def _probes(rows: Sequence[Mapping[str, Any]], chance: Mapping[str, float]) -> str:
    table = probes_table(rows, chance)
    return tables(table) if len(table.header) > 1 else ""


def _number(value: float | None, digits: int) -> str:
    return NOT_MEASURED if value is None or not np.isfinite(value) else f"{value:.{digits}f}"

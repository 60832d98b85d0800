"""Tables of figures: aligned text for terminals, Markdown for documents, HTML for the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from flexlam.report.inputs import PrefixScore, Results, Score, baseline_name

NOT_MEASURED = "–"
_ERROR = " ± "


@dataclass(frozen=True)
class Table:
    """Cells as text. The first column is set left, the others right; lines set groups of rows apart."""

    header: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.header) for group in self.groups for row in group)

    def to_text(self) -> str:
        """Aligned columns."""
        rows = [self.header, *_pad_stderrs([row for group in self.groups for row in group])]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.header))]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_aligned(row, widths) for row in rows]
        first = 1
        for group in self.groups:
            lines[first] = f"{rule}\n{lines[first]}"
            first += len(group)
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """A GitHub-flavoured Markdown table."""
        rows = [self.header, ("---", *("---:" for _ in self.header[1:]))]
        rows += [row for group in self.groups for row in group]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)

    def to_html(self) -> str:
        """A table element."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.header)
        errors = _has_stderrs([row for group in self.groups for row in group])
        bodies = "".join(f"<tbody>{''.join(_html_row(row, errors) for row in group)}</tbody>" for group in self.groups)
        return f"<table><thead><tr>{head}</tr></thead>{bodies}</table>"


def results_table(results: dict[str, Any] | Results) -> Table:
    """Prefix lengths, then baselines; columns that nobody measured are left out.

    Raises:
        ConfigError: needed values are missing or bad.
    """
    checked = results if isinstance(results, Results) else Results.load(results)
    return _score_table(checked.rows, checked.baselines)


def measurement_table(results: dict[str, Any]) -> Table:
    """The same table of one measurement alone, of alignment or of reconstruction.

    Raises:
        ConfigError: bad values.
    """
    rows = [PrefixScore.parse(row, "the measured rows") for row in results["rows"]]
    baselines = results.get("baselines", {}) | ({"copy": results["copy"]} if "copy" in results else {})
    scores = {name: Score.parse(score, "the measured baselines") for name, score in baselines.items()}
    return _score_table(rows, scores)


def _score_table(rows: Sequence[PrefixScore], baselines: Mapping[str, Score]) -> Table:
    scores: list[Score] = [*rows, *baselines.values()]
    columns = [column for column in _COLUMNS if any(getattr(score, column) is not None for score in scores)]
    header = ("prefix or baseline", "bits", *(_COLUMNS[column] for column in columns))
    prefixes = tuple(
        (_prefix_name(row, rows[-1]), f"{row.bits:.1f}", *(_cell(row, column) for column in columns)) for row in rows
    )
    others = tuple(
        (baseline_name(name), "", *(_cell(score, column) for column in columns)) for name, score in baselines.items()
    )
    return Table(header, (prefixes, others))


def comparisons_table(results: Results) -> Table | None:
    """How much lower the full code's loss is than each baseline's, paired by draw; None if nothing was compared."""
    rows = tuple(
        (
            baseline_name(name),
            f"{pair.loss_difference:+.3f}" + ("" if pair.stderr is None else f"{_ERROR}{pair.stderr:.3f}"),
            NOT_MEASURED if pair.in_stderrs is None else f"{pair.in_stderrs:+.1f}",
            str(pair.num_draws),
        )
        for name, pair in results.comparisons.items()
    )
    header = ("baseline", "its loss above the full code’s", "in standard errors", "draws")
    return Table(header, (rows,)) if rows else None


def with_stderr(value: float | None, stderr: float | None, digits: int, scale: float = 1.0) -> str:
    """A figure and its standard error, both to the same place."""
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    text = f"{scale * value:z.{digits}f}"
    return text if stderr is None or not math.isfinite(stderr) else f"{text}{_ERROR}{scale * stderr:.{digits}f}"


_COLUMNS = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "action_loss": "action loss",
    "predicted_action_loss": "loss, predicted codes",
    "action_accuracy": "accuracy, %",
}


def _cell(score: Score, column: str) -> str:
    if column == "action_accuracy":
        return with_stderr(score.action_accuracy, score.action_accuracy_stderr, 1, scale=100)
    if column in ("action_loss", "predicted_action_loss"):
        return with_stderr(getattr(score, column), getattr(score, f"{column}_stderr"), 3)
    # Every prefix decodes the same transitions: errors over those would overstate the doubt about differences.
    return with_stderr(getattr(score, column), None, 2 if column == "psnr" else 3)


def _prefix_name(row: PrefixScore, full: PrefixScore) -> str:
    return f"k = {row.k} (all slots)" if row.k == full.k else f"k = {row.k}"


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
    ]
    return "  ".join(cells).rstrip()


def _has_stderrs(rows: Sequence[tuple[str, ...]]) -> list[bool]:
    """Of each column, whether a cell carries a standard error."""
    return [any(_ERROR in cell for cell in column) for column in zip(*rows, strict=True)]


def _pad_stderrs(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Figures without a standard error stand under those with one."""
    columns = []
    for column in zip(*rows, strict=True):
        parts = [cell.partition(_ERROR) for cell in column]
        width = max(len(sign + error) for _, sign, error in parts)
        columns.append([value + (sign + error).ljust(width) for value, sign, error in parts])
    return list(zip(*columns, strict=True))


def _html_row(row: tuple[str, ...], errors: Sequence[bool]) -> str:
    cells = "".join(map(_html_cell, row[1:], errors[1:]))
    return f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>'


def _html_cell(cell: str, has_stderr: bool) -> str:
    if not has_stderr:
        return f"<td>{escape(cell)}</td>"
    value, sign, error = cell.partition(_ERROR)
    return f'<td>{escape(value)}<span class="stderr">{escape(sign + error)}</span></td>'

"""Tables of how the agent acts: returns, their leads over controls, milliseconds of a decision."""

import math
from collections.abc import Sequence
from typing import Any

from flexlam.report.inputs import (
    RETURN_GROUPS,
    RETURN_NAMES,
    Latency,
    ReturnComparison,
    Returns,
    ReturnScore,
    TaskReturns,
    return_name,
)
from flexlam.report.table import NOT_MEASURED, Table, with_stderr

_Row = tuple[str, list[ReturnScore | None]]  # a name, and a score in every task


def returns_table(returns: dict[str, Any] | Returns) -> Table:
    """Prefix lengths, controls, rivals with the same labels, ceilings; two columns a task.

    Raises:
        ConfigError: needed values are missing or bad.
    """
    checked = returns if isinstance(returns, Returns) else Returns.parse(returns, "the returns")
    tasks = checked.tasks
    header = ["mean return"]
    for task in tasks:
        header += [task.task]
        header += ["normalised"] if _is_normalised(task) else []
    lengths = sorted({row.k for task in tasks for row in task.rows})
    by_k = [{row.k: row for row in task.rows} for task in tasks]
    prefixes: list[_Row] = [(_prefix_name(k, lengths[-1]), [rows.get(k) for rows in by_k]) for k in lengths]
    found = [prefixes, *(_baseline_rows(tasks, names, lengths) for names in _groups(tasks))]
    groups = (tuple((name, *_cells(tasks, scores)) for name, scores in group) for group in found if group)
    return Table(tuple(header), tuple(groups))


def return_comparisons_table(returns: dict[str, Any] | Returns) -> Table | None:
    """By how much the full code's return exceeds each baseline's, paired by episode; None if nothing was compared.

    Raises:
        ConfigError: needed values are missing or bad.
    """
    checked = returns if isinstance(returns, Returns) else Returns.parse(returns, "the returns")
    by_task = [{return_name(key, pair.which): pair for key, pair in task.comparisons.items()} for task in checked.tasks]
    names = dict.fromkeys(name for pairs in by_task for name in pairs)
    header = ["full code’s lead over"]
    for task in checked.tasks:
        header += [task.task, "in s.e."]
    rows = tuple(
        (
            name,
            *(
                cell
                for task, pairs in zip(checked.tasks, by_task, strict=True)
                for cell in _lead(pairs.get(name), task)
            ),
        )
        for name in names
    )
    return Table(tuple(header), (rows,)) if rows else None


def latency_table(latency: dict[str, Any] | Latency) -> Table:
    """Milliseconds of a decision over prefix length: mean, percentiles, the fitted c + b k, mean of each part.

    Raises:
        ConfigError: needed values are missing or bad.
    """
    checked = latency if isinstance(latency, Latency) else Latency.parse(latency, "the latency")
    fit = checked.fit
    parts = list(dict.fromkeys(part for row in checked.rows for part in row.parts_ms))
    header = ("ms a decision", "mean", "p50", "p95", "p99", *(["c + b k"] if fit else []), *parts)
    rows = []
    for row in checked.rows:
        times = [row.mean_ms, row.p50_ms, row.p95_ms, row.p99_ms]
        times += [fit.c_ms + fit.b_ms * row.k] if fit else []
        cells = [with_stderr(value, None, 2) for value in (*times, *(row.parts_ms.get(part) for part in parts))]
        rows.append((_prefix_name(row.k, checked.rows[-1].k), *cells))
    return Table(header, (tuple(rows),))


def return_digits(task: TaskReturns) -> int:
    """Decimal places that leave the largest return of a task three figures at least."""
    largest = max(abs(score.return_) for score in (*task.rows, *task.baselines.values()))
    return max(0, 2 - math.floor(math.log10(largest))) if largest > 1e-3 else 3


def _groups(tasks: Sequence[TaskReturns]) -> list[list[str]]:
    """Keys of the baselines by group; those that nobody knows come last."""
    present = dict.fromkeys(key for task in tasks for key in task.baselines)
    known = [[key for key in names if key in present] for names in RETURN_GROUPS.values()]
    return [*known, [key for key in present if key not in RETURN_NAMES]]


def _baseline_rows(tasks: Sequence[TaskReturns], names: Sequence[str], lengths: Sequence[int]) -> list[_Row]:
    """Named scores; k = 0 stands among the prefix lengths where it was measured as one of them."""
    kept = [name for name in names if not (name == "k0" and 0 in lengths)]
    return [(return_name(name), [task.baselines.get(name) for task in tasks]) for name in kept]


def _cells(tasks: Sequence[TaskReturns], scores: Sequence[ReturnScore | None]) -> list[str]:
    cells = []
    for task, score in zip(tasks, scores, strict=True):
        cells.append(_return(score, task))
        if _is_normalised(task):
            cells.append(with_stderr(score.normalised, score.normalised_stderr, 2) if score else NOT_MEASURED)
    return cells


def _is_normalised(task: TaskReturns) -> bool:
    return any(score.normalised is not None for score in (*task.rows, *task.baselines.values()))


def _return(score: ReturnScore | None, task: TaskReturns) -> str:
    return with_stderr(score.return_, score.return_stderr, return_digits(task)) if score else NOT_MEASURED


def _lead(pair: ReturnComparison | None, task: TaskReturns) -> tuple[str, str]:
    if pair is None:
        return NOT_MEASURED, NOT_MEASURED
    lead = with_stderr(pair.difference, pair.stderr, return_digits(task))
    sign = "+" if pair.difference > 0 else ""
    return sign + lead, NOT_MEASURED if pair.in_stderrs is None else f"{pair.in_stderrs:+.1f}"


def _prefix_name(k: int, full: int) -> str:
    return f"k = {k} (all slots)" if k == full else f"k = {k}"

"""The measured figures in words: nothing is claimed that the figures do not say."""

import math
from dataclasses import dataclass

from flexlam.report.inputs import HealthSummary, Results, Returns, TaskReturns, return_name
from flexlam.report.returns import return_digits
from flexlam.report.table import NOT_MEASURED, with_stderr

_SAID = {
    "best_blind": "the best blind control",
    "k0": "the agent with k = 0",
    "shuffled": "the agent with shuffled codes",
}


@dataclass(frozen=True)
class Fact:
    """One figure that stands out."""

    name: str
    value: str
    note: str


def headline(results: Results) -> list[str]:
    """Sentences about acting, decoding and translating; *...* marks the figures."""
    full, empty = results.rows[-1], results.rows[0]
    change = full.psnr - empty.psnr
    direction = "rises" if change > 0 else "falls" if change < 0 else "stays"
    decoded = (
        f"From {empty.k} to {full.k} retained slots, the PSNR of the decoded next frame {direction} "
        f"from *{empty.psnr:.1f}* to *{full.psnr:.1f} dB*."
    )
    return [*_acting(results), decoded, *(_translation(results) if results.aligned else ())]


def facts(results: Results, health: HealthSummary) -> list[Fact]:
    """Figures for a glance."""
    full, empty = results.rows[-1], results.rows[0]
    found = _acting_facts(results)
    found += [
        Fact(
            f"PSNR, all {full.k} slots",
            f"{full.psnr:.1f} dB",
            f"{full.psnr - empty.psnr:+.1f} dB over k = {empty.k}",
        )
    ]
    found += _translation_facts(results) if results.aligned else []
    share = f"{health.bits_used:.0f} of {health.bits_nominal:.0f}"
    found.append(Fact("Bits used (upper bound)", share, f"per transition, {len(health.slots)} slots"))
    return found


def _translation_facts(results: Results) -> list[Fact]:
    full, previous = results.full, results.baselines["previous_action"]
    loss = with_stderr(full.action_loss, full.action_loss_stderr, 3)
    name, note = f"Action loss, {results.num_labels} labels", f"previous-action table {_loss(previous.action_loss)}"
    found = [Fact(name, loss, note)]
    if full.action_accuracy is not None:
        repeat = results.baselines.get("repeat_previous", previous).action_accuracy
        accuracy = f"{100 * full.action_accuracy:.1f} %"
        found.append(Fact("Actions told right", accuracy, f"repeating the previous {_percent(repeat)}"))
    return found


def acting(returns: Returns) -> list[str]:
    """A sentence a task: the full code's return, and where it stands to what it was compared with."""
    return [_comparisons(task) for task in returns.tasks]


def compare(value: float, stderr: float | None, other: float, other_stderr: float | None) -> str:
    """Where a figure stands: below or above only if the difference exceeds two standard errors."""
    error = math.hypot(stderr or 0.0, other_stderr or 0.0)
    difference = value - other
    if abs(difference) <= 2 * error or difference == 0:
        return "within two standard errors of"
    return "below" if difference < 0 else "above"


def _acting(results: Results) -> list[str]:
    """What the full code earns in each task, beside random actions and the expert."""
    if results.returns is None:
        return []
    sentences: list[str] = []
    for task in results.returns.tasks:
        digits = return_digits(task)
        others = [
            f"{words} *{value:,.{digits}f}*"
            for words, key in (("random actions", "random"), ("the scripted expert", "expert"))
            if (value := _reference(task, key)) is not None
        ]
        start = "In" if sentences else f"With *{results.returns.num_labels} action labels*, the agent earns"
        earned = f"*{task.full.return_:,.{digits}f}*"
        said = f"{start} {task.task} it earns {earned}" if sentences else f"{start} {earned} in {task.task}"
        sentences.append("; ".join([said, ", ".join(others)] if others else [said]) + ".")
    return sentences


def _acting_facts(results: Results) -> list[Fact]:
    found = []
    for task in results.returns.tasks if results.returns else []:
        full, digits, random = task.full, return_digits(task), _reference(task, "random")
        notes = [] if full.normalised is None else [f"normalised {full.normalised:.2f}"]
        notes += [] if random is None else [f"random {random:.{digits}f}"]
        value = with_stderr(full.return_, full.return_stderr, digits)
        found.append(Fact(f"Return, {task.task}", value, ", ".join(notes) or f"k = {full.k}"))
    if results.latency:
        slowest = results.latency.rows[-1]
        note = f"k = {slowest.k}; 95 % within {slowest.p95_ms:.1f} ms"
        found.append(Fact("Time of a decision", f"{slowest.mean_ms:.1f} ms", note))
    return found


def _reference(task: TaskReturns, key: str) -> float | None:
    """Return of a baseline of this run, else of the table of references."""
    if key in task.baselines:
        return task.baselines[key].return_
    value = (task.reference or {}).get(key)
    return value if isinstance(value, (int, float)) else None


def _comparisons(task: TaskReturns) -> str:
    places = []
    for key, pair in task.comparisons.items():
        by = "" if pair.in_stderrs is None else f" (by *{abs(pair.in_stderrs):.1f}* s.e.)"
        name = _SAID.get(key) or return_name(key)
        places.append(f"{compare(pair.difference, pair.stderr, 0.0, None)} {name}{by}")
    value = with_stderr(task.full.return_, task.full.return_stderr, return_digits(task))
    said = f"In {task.task}, the agent with k = {task.full.k} earns *{value}* over {task.num_episodes} episodes"
    return f"{said}: {'; '.join(places)}." if places else f"{said}."


def _translation(results: Results) -> list[str]:
    full, previous = results.full, results.baselines["previous_action"]
    assert full.action_loss is not None  # asked of aligned results alone
    draws = f", over {results.num_draws} draws of them" if results.num_draws and results.num_draws > 1 else ""
    sentences = []
    if previous.action_loss is not None:
        place = _place(results, previous.action_loss, previous.action_loss_stderr)
        sentences.append(
            f"With *{results.num_labels} action labels*{draws}, the translator’s loss is "
            f"*{full.action_loss:.2f}*, {place} the *{previous.action_loss:.2f}* "
            "of a previous-action table fitted on all labels."
        )
    repeat = results.baselines.get("repeat_previous", previous).action_accuracy
    if full.action_accuracy is not None and repeat is not None:
        sentences.append(
            f"It tells *{_percent(full.action_accuracy)}* of held-out actions right; "
            f"repeating the previous action, *{_percent(repeat)}*."
        )
    return sentences


def _place(results: Results, other: float, other_stderr: float | None) -> str:
    """`compare` with the previous-action table, by the paired difference where there is one."""
    pair = results.comparisons.get("previous_action")
    if pair is not None:
        return compare(-pair.loss_difference, pair.stderr, 0.0, None)
    assert results.full.action_loss is not None
    return compare(results.full.action_loss, results.full.action_loss_stderr, other, other_stderr)


def _loss(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{100 * value:.1f} %"

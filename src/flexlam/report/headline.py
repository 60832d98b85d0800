"""The measured figures in words: nothing is claimed that the figures do not say."""

import math
from dataclasses import dataclass

from flexlam.report.inputs import HealthSummary, Results
from flexlam.report.table import NOT_MEASURED, with_stderr


@dataclass(frozen=True)
class Fact:
    """One figure that stands out."""

    name: str
    value: str
    note: str


def headline(results: Results) -> list[str]:
    """Sentences about decoding and translating; *...* marks the figures."""
    full, empty = results.rows[-1], results.rows[0]
    change = full.psnr - empty.psnr
    direction = "rises" if change > 0 else "falls" if change < 0 else "stays"
    decoded = (
        f"From {empty.k} to {full.k} retained slots, the PSNR of the decoded next frame {direction} "
        f"from *{empty.psnr:.1f}* to *{full.psnr:.1f} dB*."
    )
    return [decoded, *_translation(results)]


def facts(results: Results, health: HealthSummary) -> list[Fact]:
    """Four figures for a glance."""
    full, empty, previous = results.rows[-1], results.rows[0], results.baselines["previous_action"]
    found = [
        Fact(
            f"PSNR, all {full.k} slots",
            f"{full.psnr:.1f} dB",
            f"{full.psnr - empty.psnr:+.1f} dB over k = {empty.k}",
        )
    ]
    loss = with_stderr(full.action_loss, full.action_loss_stderr, 3)
    found.append(
        Fact(
            f"Action loss, {results.num_labels} labels",
            loss,
            f"previous-action table {_loss(previous.action_loss)}",
        )
    )
    if full.action_accuracy is not None:
        repeat = results.baselines.get("repeat_previous", previous).action_accuracy
        accuracy = f"{100 * full.action_accuracy:.1f} %"
        found.append(Fact("Actions told right", accuracy, f"repeating the previous {_percent(repeat)}"))
    share = f"{health.bits_used:.0f} of {health.bits_nominal:.0f}"
    found.append(Fact("Bits used (upper bound)", share, f"per transition, {len(health.slots)} slots"))
    return found


def compare(value: float, stderr: float | None, other: float, other_stderr: float | None) -> str:
    """Where a loss stands: below or above only if the difference exceeds two standard errors."""
    error = math.hypot(stderr or 0.0, other_stderr or 0.0)
    difference = value - other
    if abs(difference) <= 2 * error or difference == 0:
        return "within two standard errors of"
    return "below" if difference < 0 else "above"


def _translation(results: Results) -> list[str]:
    full, previous = results.full, results.baselines["previous_action"]
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
    return compare(results.full.action_loss, results.full.action_loss_stderr, other, other_stderr)


def _loss(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{100 * value:.1f} %"

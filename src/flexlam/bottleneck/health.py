"""What the codes are doing, and whether it is time to align them: label-free, on validation transitions.

Thresholds were set on, and the verdict validated against, real runs: docs/health.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

Verdict = Literal["ready to align", "collapsed", "still learning"]

MIN_PERPLEXITY = 2.0
"""A slot below this takes practically one code, whatever happens in the picture."""
MIN_GAIN = 0.05
"""Codes that lower the error of the empty code by less than this share carry next to nothing ..."""
MIN_SHUFFLE_RATIO = 1.05
"""... and so do codes that can be exchanged for those of other transitions at less than this factor of error."""
READY_GAIN = 0.2
"""A gain from which on codes are worth aligning even while the error still falls ..."""
READY_SHUFFLE_RATIO = 1.25
"""... together with this factor."""
MAX_RECENT_FALL = 0.08
"""An error that fell by more than this share over the second half of the training has not settled."""


@dataclass(frozen=True)
class SlotUsage:
    """How one slot is used."""

    slot: int
    """1..K."""
    codes_used: int
    """Number of different codes seen."""
    perplexity: float
    """exp of the entropy: the effective number of codes."""
    bits: float
    """Entropy; bounded by log2 of the number of transitions measured."""


@dataclass(frozen=True)
class Health:
    """One look at the bottleneck."""

    verdict: Verdict
    reason: str
    slots: tuple[SlotUsage, ...]
    bits_used: float
    """Sum of the slots' entropies: an upper bound of the information carried."""
    bits_nominal: float
    """K · log2 |C|."""
    prefix_curve: dict[int, float]
    """k -> squared error of the decoded frame over that of copying o_t."""
    shuffle_ratio: float
    """Error with codes of other transitions over error with the right ones; 1 means the decoder ignores them."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def slot_usage(indices: Int[Tensor, "N K"]) -> tuple[SlotUsage, ...]:
    """Codes used, perplexity and entropy of each slot over N transitions."""
    usage = []
    for slot, column in enumerate(indices.cpu().unbind(1), start=1):
        counts = torch.unique(column, return_counts=True)[1].double()
        shares = counts / counts.sum()
        entropy = -float((shares * shares.log()).sum())
        usage.append(SlotUsage(slot, len(counts), math.exp(entropy), entropy / math.log(2)))
    return tuple(usage)


def judge(
    slots: Sequence[SlotUsage],
    bits_nominal: float,
    prefix_curve: Mapping[int, float],
    shuffle_ratio: float,
    history: Sequence[tuple[int, float]],
) -> Health:
    """Weigh the evidence.

    `history` holds (step, full-code error over copy error) of every evaluation so far, this one included; nothing of a
    model whose training is not known, and is then not judged.
    """
    verdict, reason = _verdict(slots, prefix_curve, shuffle_ratio, history)
    bits_used = sum(slot.bits for slot in slots)
    return Health(verdict, reason, tuple(slots), bits_used, bits_nominal, dict(prefix_curve), shuffle_ratio)


def _verdict(
    slots: Sequence[SlotUsage],
    curve: Mapping[int, float],
    shuffle_ratio: float,
    history: Sequence[tuple[int, float]],
) -> tuple[Verdict, str]:
    if not all(map(math.isfinite, (*curve.values(), shuffle_ratio))):
        return "collapsed", "the error of the decoded frames is not finite"
    typical = sorted(slot.perplexity for slot in slots)[len(slots) // 2]
    if typical < MIN_PERPLEXITY:
        return "collapsed", f"half of the slots take one code or nearly so (median perplexity {typical:.1f})"
    gain = 1 - curve[max(curve)] / max(curve[min(curve)], 1e-12)
    fall = recent_fall(history) if history else 0.0
    if fall is None:
        return "still learning", "too early to tell: fewer than three evaluations"
    if fall < -MAX_RECENT_FALL:
        return "still learning", f"the error rose by {-fall:.0%} over the second half; lower the learning rate"
    carry = (
        f"the whole code lowers the error of the empty one by {gain:.1%}, codes of other transitions raise it "
        f"{shuffle_ratio:.3g}×"
    )
    settled = fall <= MAX_RECENT_FALL
    trend = "settled" if settled else f"still falls ({fall:.0%} over the second half), so more steps would pay"
    if shuffle_ratio < MIN_SHUFFLE_RATIO or gain < MIN_GAIN:
        if settled:
            return "collapsed", f"the decoder hardly uses the codes: {carry}"
        return "still learning", f"the decoder hardly uses the codes yet: {carry}; the error {trend}"
    if settled or (gain >= READY_GAIN and shuffle_ratio >= READY_SHUFFLE_RATIO):
        seen = f"; the error {'has ' if settled else ''}{trend}" if history else ""
        return "ready to align", f"{carry}{seen}"
    return "still learning", f"{carry}; the error {trend}"


def recent_fall(history: Sequence[tuple[int, float]]) -> float | None:
    """Share by which the error fell since the evaluation nearest to half the steps; None with too few of them."""
    if len(history) < 3:
        return None
    last_step, last = history[-1]
    _, middle = min(history[:-1], key=lambda item: abs(item[0] - last_step / 2))
    return 1 - last / max(middle, 1e-12)

import math

import pytest
import torch

from flexlam.bottleneck.health import Health, SlotUsage, judge, recent_fall, slot_usage

GOOD_CURVE = {0: 0.9, 1: 0.7, 4: 0.4}
FALLING = [(100, 0.9), (200, 0.6), (400, 0.4)]
SETTLED = [(100, 0.6), (200, 0.41), (300, 0.405), (400, 0.4)]


def used(*perplexities: float) -> list[SlotUsage]:
    return [SlotUsage(i, 10, p, math.log2(p)) for i, p in enumerate(perplexities, 1)]


def look(**changes: object) -> Health:
    evidence = {
        "slots": used(20, 20, 20, 20),
        "bits_nominal": 40.0,
        "prefix_curve": GOOD_CURVE,
        "shuffle_ratio": 2.0,
        "history": SETTLED,
    }
    return judge(**{**evidence, **changes})


def test_a_settled_model_that_uses_its_codes_is_ready() -> None:
    health = look()
    assert health.verdict == "ready to align"
    assert "55.6%" in health.reason and "2×" in health.reason and "has settled" in health.reason
    assert health.bits_used == pytest.approx(4 * math.log2(20))
    assert health.to_json()["prefix_curve"] == GOOD_CURVE


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"slots": used(1.0, 1.1, 1.0, 20)}, "collapsed", "half of the slots take one code"),
        ({"slots": used(1.5)}, "collapsed", "median perplexity 1.5"),
        ({"shuffle_ratio": 1.01}, "collapsed", "hardly uses the codes"),
        ({"prefix_curve": {0: 0.9, 1: 0.9, 4: 0.89}}, "collapsed", "by 1.1%"),
        ({"shuffle_ratio": 1.01, "history": FALLING}, "still learning", "hardly uses the codes yet"),
        ({"prefix_curve": {0: 0.9, 4: 0.8}, "history": FALLING}, "still learning", "still falls (33%"),
        ({"prefix_curve": {0: 0.9, 4: 0.8}}, "ready to align", "by 11.1%"),
        ({"history": FALLING}, "ready to align", "more steps would pay"),
        ({"history": [(100, 0.4), (200, 0.4), (400, 0.5)]}, "still learning", "rose by 25%"),
        ({"prefix_curve": {0: 0.9, 4: math.nan}}, "collapsed", "not finite"),
        ({"shuffle_ratio": math.nan}, "collapsed", "not finite"),
        ({"shuffle_ratio": 0.0, "prefix_curve": {0: 0.0, 4: 0.0}}, "collapsed", "hardly uses"),
        ({"history": SETTLED[:2]}, "still learning", "fewer than three"),
    ],
)
def test_each_verdict_has_its_reason(changes: dict, verdict: str, reason: str) -> None:
    health = look(**changes)
    assert health.verdict == verdict
    assert reason in health.reason


def test_a_minority_of_dead_slots_is_tolerated() -> None:
    assert look(slots=used(1.0, 20, 20, 20)).verdict == "ready to align"


def test_usage_of_slots() -> None:
    indices = torch.stack([torch.zeros(64, dtype=torch.long), torch.arange(64) % 4], dim=1)
    dead, uniform = slot_usage(indices)
    assert (dead.slot, dead.codes_used, dead.perplexity, dead.bits) == (1, 1, 1.0, 0.0)
    assert (uniform.slot, uniform.codes_used) == (2, 4)
    assert uniform.perplexity == pytest.approx(4) and uniform.bits == pytest.approx(2)


def test_recent_fall_looks_back_to_half_the_steps() -> None:
    assert recent_fall([(10, 1.0), (20, 0.9)]) is None
    assert recent_fall([(100, 5.0), (200, 0.8), (300, 0.5), (400, 0.4)]) == pytest.approx(0.5)

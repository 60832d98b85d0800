from typing import Any

import matplotlib
import pytest

from flexlam.report.figures import quality_figures, training_figures, usage_figures
from flexlam.report.inputs import HealthSummary, Results


def test_baselines_are_named_beside_their_lines(results: dict[str, Any]) -> None:
    psnr, loss, accuracy = quality_figures(Results.load(results))
    assert "IDM" not in psnr
    for name in ("prev. action", "IDM", "shuffled"):
        assert f">{name}</text>" in loss
    assert ">repeat prev.</text>" in accuracy
    assert loss.startswith("<svg") and 'aria-label="Translator, loss.' in loss


def test_one_slot_and_one_prefix_are_enough() -> None:
    slot = {"slot": 1, "codes_used": 3, "perplexity": 2.0, "bits": 1.0}
    values = {"verdict": "collapsed", "reason": "r", "slots": [slot], "bits_used": 1, "bits_nominal": 10}
    assert len(usage_figures(HealthSummary.parse(values, "health"))) == 2


@pytest.mark.parametrize("key", ["psnr_k", "error/k=", "prefix_", ""])
def test_prefix_curves_over_time_are_found(key: str) -> None:
    rows = [{"step": step, **{f"validation/{key}{k}": 1.0 / (k + step) for k in (0, 1, 16)}} for step in (1, 2, 3)]
    (figure,) = training_figures(rows)
    for label in ("k = 0", "k = 1", "k = 16"):
        assert f">{label}</text>" in figure


def test_rows_without_numbers_are_passed_over() -> None:
    assert training_figures([]) == []
    assert training_figures([{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}, {"validation/a1": 2.0}]) == []


def test_drawing_leaves_no_trace_in_matplotlib(results: dict[str, Any]) -> None:
    before = dict(matplotlib.rcParams)
    quality_figures(Results.load(results))
    assert dict(matplotlib.rcParams) == before

from typing import Any

from flexlam.report.acting_figures import latency_figures, return_figures
from flexlam.report.inputs import Latency, Returns


def test_controls_and_ceilings_are_named(returns: dict[str, Any]) -> None:
    basic, home = return_figures(Returns.parse(returns, "x"))
    for name in ("random", "shuffled", "blind (Markov)", "BC, same labels", "BC, all labels", "expert"):
        assert f">{name}</text>" in basic
    assert "constant" not in basic  # not the best of the blind controls
    assert "1: expert" in basic and ">Mean over episodes; higher is better</text>" in home


def test_the_best_blind_control_is_drawn(returns: dict[str, Any]) -> None:
    returns["tasks"][0]["baselines"]["constant"]["return"] = 701.0
    figure = return_figures(Returns.parse(returns, "x"))[0]
    assert ">blind (constant)</text>" in figure and "Markov" not in figure


def test_one_prefix_length_without_errors_is_enough(returns: dict[str, Any]) -> None:
    task = {"task": "t", "num_episodes": 1, "rows": [{"k": 0, "return": 1.0}]}
    assert len(return_figures(Returns.parse({"num_labels": 1, "tasks": [task]}, "x"))) == 1


def test_parts_of_a_decision_and_the_fit(latency: dict[str, Any]) -> None:
    (figure,) = latency_figures(Latency.parse(latency, "x"))
    for part in ("prepare", "encode", "context", "generate"):
        assert f">{part}</text>" in figure
    assert "fit 1.50 + 1.010 k ms" in figure
    points = [line for line in figure.splitlines() if "<use" in line and "stroke: var(--ink)" in line]
    assert ["fill-opacity: 0" in point for point in points] == [True, False, False]  # k = 0 had no part in the fit
    bare = {"rows": [{**latency["rows"][2], "parts_ms": {}}]}
    (figure,) = latency_figures(Latency.parse(bare, "x"))
    assert ">Milliseconds; mean</text>" in figure

from typing import Any

import pytest

from flexlam.report.headline import compare, facts, headline
from flexlam.report.inputs import HealthSummary, Results


@pytest.mark.parametrize(
    ("value", "stderr", "other", "other_stderr", "words"),
    [
        (1.39, 0.01, 1.50, None, "below"),
        (1.61, 0.01, 1.50, None, "above"),
        (1.485, 0.01, 1.50, None, "within"),
        (1.46, 0.01, 1.50, 0.03, "within"),
        (1.5, None, 1.5, None, "within"),
        (1.4, None, 1.5, None, "below"),
    ],
)
def test_a_difference_is_claimed_only_beyond_two_errors(
    value: float, stderr: float | None, other: float, other_stderr: float | None, words: str
) -> None:
    assert compare(value, stderr, other, other_stderr).startswith(words)


def test_a_bad_result_is_told_as_one(results: dict[str, Any], health: dict[str, Any]) -> None:
    for row in results["rows"]:
        row["psnr"] = 26.0 - row["k"]
        row["action_loss"] = 1.9
    text = " ".join(headline(Results.load(results)))
    assert "falls from *26.0* to *22.0 dB*" in text
    assert "above the *1.50*" in text
    values = {fact.name: fact for fact in facts(Results.load(results), HealthSummary.parse(health, "health"))}
    assert values["PSNR, all 4 slots"].note == "-4.0 dB over k = 0"
    assert values["Bits used (upper bound)"].value == "21 of 40"


def test_the_paired_difference_decides_where_there_is_one(results: dict[str, Any]) -> None:
    pair = {"loss_difference": 0.1, "stderr": 0.2, "in_stderrs": 0.5, "num_draws": 8}
    assert "*1.40*, below" in " ".join(headline(Results.load(results)))
    results["comparisons"] = {"previous_action": pair}
    assert "*1.40*, within two standard errors" in " ".join(headline(Results.load(results)))

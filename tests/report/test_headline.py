from typing import Any

import pytest

from flexlam.report.headline import acting, compare, facts, headline
from flexlam.report.inputs import HealthSummary, Results, Returns


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


def test_acting_comes_first(
    results: dict[str, Any], health: dict[str, Any], returns: dict[str, Any], latency: dict[str, Any]
) -> None:
    loaded = Results.load(results | {"returns": returns, "latency": latency})
    first, second, decoded, *_ = headline(loaded)
    assert first == (
        "With *256 action labels*, the agent earns *1,800* in basic; random actions *400*, the scripted expert *2,000*."
    )
    assert second == "In my_way_home it earns *0.400*." and decoded.startswith("From 0 to 4")
    told = facts(loaded, HealthSummary.parse(health, "health"))
    assert [fact.name for fact in told[:3]] == ["Return, basic", "Return, my_way_home", "Time of a decision"]
    assert (told[0].value, told[0].note) == ("1800 ± 10", "normalised 0.88, random 400")
    assert (told[2].value, told[2].note) == ("5.5 ms", "k = 4; 95 % within 6.0 ms")


def test_the_table_of_references_stands_in_for_baselines_that_were_not_run(
    results: dict[str, Any], returns: dict[str, Any]
) -> None:
    del returns["tasks"][0]["baselines"]["random"], returns["tasks"][0]["baselines"]["expert"]
    assert (
        "random actions *410*, the scripted expert *2,010*" in headline(Results.load(results | {"returns": returns}))[0]
    )


def test_a_lead_is_claimed_only_beyond_two_errors(returns: dict[str, Any]) -> None:
    returns["tasks"][0]["comparisons"]["random"].update(difference=-300.0, in_stderrs=-30.0)
    told, bare = acting(Returns.parse(returns, "x"))
    assert "*1800 ± 10* over 50 episodes: below random actions (by *30.0* s.e.); above the best blind control" in told
    assert told.endswith("within two standard errors of the agent with shuffled codes (by *1.5* s.e.).")
    assert bare == "In my_way_home, the agent with k = 4 earns *0.400 ± 0.050* over 50 episodes."

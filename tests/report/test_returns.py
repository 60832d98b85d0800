from typing import Any

import pytest

from flexlam.core.errors import ConfigError
from flexlam.report.inputs import Returns
from flexlam.report.returns import latency_table, return_comparisons_table, return_digits, returns_table


def test_groups_of_rows_and_columns_a_task(returns: dict[str, Any]) -> None:
    table = returns_table(returns)
    assert table.header == ("mean return", "basic", "normalised", "my_way_home")
    names = [[row[0] for row in group] for group in table.groups]
    assert names == [
        ["k = 0", "k = 1", "k = 4 (all slots)"],
        ["random actions", "best constant action", "Markov chain on the previous action", "agent, shuffled codes"],
        ["behaviour cloning, same labels"],
        ["behaviour cloning, all labels", "scripted expert"],
    ]
    assert table.groups[0][2][1:] == ("1800 ± 10", "0.88 ± 0.01", "0.400 ± 0.050")
    assert table.groups[0][1][3] == table.groups[1][0][3] == "–"  # not measured in that task
    text = table.to_text()
    assert text.count("─\n") == 4 and "1500 ± 10" in text
    assert "| k = 4 (all slots) | 1800 ± 10 |" in table.to_markdown()


def test_k0_has_a_row_of_its_own_only_where_it_is_no_prefix_length(returns: dict[str, Any]) -> None:
    assert "agent, k = 0" not in returns_table(returns).to_text()
    for task in returns["tasks"]:
        task["rows"] = [row for row in task["rows"] if row["k"]]
    assert "agent, k = 0  " in returns_table(returns).to_text()


def test_a_baseline_nobody_knows_is_shown_last(returns: dict[str, Any]) -> None:
    returns["tasks"][1]["baselines"] = {"some_new": {"return": 0.1}}
    assert returns_table(returns).groups[-1] == (("some new", "–", "–", "0.100"),)


def test_comparisons_of_the_full_code(returns: dict[str, Any]) -> None:
    table = return_comparisons_table(returns)
    assert table is not None
    rows = table.groups[0]
    assert rows[0] == ("random actions", "+1400 ± 10", "+140.0", "–", "–")
    assert rows[1][0] == "best blind control: Markov chain on the previous action"
    assert rows[3][1:3] == ("+15 ± 10", "+1.5")
    returns["tasks"][0]["comparisons"]["k0"].update(difference=-30.0, in_stderrs=None)
    table = return_comparisons_table(returns)
    assert table is not None and table.groups[0][2][1:3] == ("-30 ± 10", "–")
    del returns["tasks"][0]["comparisons"]
    assert return_comparisons_table(returns) is None


def test_milliseconds(latency: dict[str, Any]) -> None:
    table = latency_table(latency)
    assert table.header == ("ms a decision", "mean", "p50", "p95", "p99", "c + b k", *latency["rows"][0]["parts_ms"])
    assert [row[0] for row in table.groups[0]] == ["k = 0", "k = 1", "k = 4 (all slots)"]
    assert table.groups[0][2][1:6] == ("5.50", "5.40", "6.00", "6.50", "5.54")
    del latency["fit"], latency["rows"][0]["parts_ms"]["encode"]
    table = latency_table(latency)
    assert "c + b k" not in table.header
    assert [row[table.header.index("encode")] for row in table.groups[0]] == ["0.50", "0.50", "–"]


@pytest.mark.parametrize(("value", "digits"), [(2100.0, 0), (-430.0, 0), (43.0, 1), (4.3, 2), (0.43, 3), (0.0, 3)])
def test_returns_have_three_figures(returns: dict[str, Any], value: float, digits: int) -> None:
    task = Returns.parse({**returns, "tasks": [{**returns["tasks"][1], "rows": [{"k": 0, "return": value}]}]}, "x")
    assert return_digits(task.tasks[0]) == digits


def test_what_is_missing_is_named(returns: dict[str, Any], latency: dict[str, Any]) -> None:
    del returns["tasks"][0]["rows"][0]["return"]
    with pytest.raises(ConfigError, match=r"the returns:\n.*tasks\.0\.rows\.0\.return"):
        returns_table(returns)
    with pytest.raises(ConfigError, match="rows"):
        latency_table({**latency, "rows": []})

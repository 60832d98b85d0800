from typing import Any

import pytest

from flexlam.report.inputs import Results
from flexlam.report.table import Table, comparisons_table, results_table, with_stderr


def test_columns_align(results: dict[str, Any]) -> None:
    lines = results_table(results).to_text().splitlines()
    assert len({len(line) for line in lines if line.startswith("─")}) == 1
    body = [line for line in lines[1:] if not line.startswith("─")]
    assert len(body) == 4 + 5
    assert len({line.index("±") for line in body[:4]}) == 1
    # The loss without a standard error stands under those with one.
    loss_at = body[0].index("1.600")
    assert next(line for line in body if line.startswith("previous action, all")).index("1.500") == loss_at
    assert all(len(line) <= len(lines[1]) <= 80 for line in lines)


def test_rows_come_in_order_of_k(results: dict[str, Any]) -> None:
    results["rows"].reverse()
    names = [row[0] for row in results_table(results).groups[0]]
    assert names == ["k = 0", "k = 1", "k = 2", "k = 4 (all slots)"]


def test_columns_nobody_measured_are_left_out(results: dict[str, Any]) -> None:
    assert "SSIM" in results_table(results).header
    for row in results["rows"]:
        del row["ssim"]
    assert "SSIM" not in results_table(results).header


def test_markdown_keeps_its_columns() -> None:
    table = Table(("a|b", "n"), ((("x|y", "1"),), (("z", "22"),)))
    assert table.to_markdown().splitlines() == [
        "| a\\|b | n |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
        "| z | 22 |",
    ]


def test_html_escapes() -> None:
    html = Table(("<i>", "n"), ((("<b>", "1 ± <u>"),),)).to_html()
    assert "<i>" not in html and "<b>" not in html and "<u>" not in html


@pytest.mark.parametrize(
    ("value", "stderr", "expected"),
    [
        (0.5712, 0.0047, "57.1 ± 0.5"),
        (0.5712, None, "57.1"),
        (0.5712, float("nan"), "57.1"),
        (None, 0.1, "–"),
        (float("nan"), 0.1, "–"),
    ],
)
def test_figures_with_their_errors(value: float | None, stderr: float | None, expected: str) -> None:
    assert with_stderr(value, stderr, 1, scale=100) == expected


def test_comparisons_stand_in_standard_errors(results: dict[str, Any]) -> None:
    assert comparisons_table(Results.load(results)) is None
    results["comparisons"] = {
        "previous_action": {"loss_difference": 0.1, "stderr": 0.02, "in_stderrs": 5.0, "num_draws": 8},
        "idm": {"loss_difference": -0.2, "stderr": None, "in_stderrs": None, "num_draws": 1},
    }
    table = comparisons_table(Results.load(results))
    assert table is not None
    assert [row[1:] for row in table.groups[0]] == [("+0.100 ± 0.020", "+5.0", "8"), ("-0.200", "–", "1")]


def test_copying_stands_among_the_baselines(results: dict[str, Any]) -> None:
    results["copy"] = {"psnr": 24.1, "psnr_stderr": 0.05, "ssim": 0.7}
    last = results_table(results).groups[1][-1]
    assert last[0] == "copy the present frame" and "24.10" in last

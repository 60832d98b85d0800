import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "latency.py"


def run(tmp_path: Path, part: str) -> dict:
    out = tmp_path / "latency.json"
    command = [sys.executable, str(BENCH), "--quick", "--only", part, "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def test_quick_run_gives_a_line_and_what_it_predicts(tmp_path: Path) -> None:
    rows = run(tmp_path, "fit")["fit"]
    assert [row["k"] for row in rows] == [1, 2, 3, 4]
    assert [row["fitted"] for row in rows] == [True, True, False, False]
    for row in rows:
        assert row["mean_ms"] > 0 and math.isclose(row["error"], row["line_ms"] / row["mean_ms"] - 1)
    slopes = {round(b["line_ms"] - a["line_ms"], 6) for a, b in itertools.pairwise(rows)}
    assert len(slopes) == 1, "a line"


def test_quick_run_draws_the_same_codes_with_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    rows = run(tmp_path, "compare")["compare"]
    assert [row["name"] for row in rows[:4]].count("flexlam") == 1 and len(rows) == 8
    for row in rows:
        assert row["equal_codes"] == 1.0, row
        assert row["median_ms"] > 0 and row["ratio"] > 0


def test_quick_run_follows_one_agent(tmp_path: Path) -> None:
    rows = run(tmp_path, "long")["long"]
    assert [row["steps"] for row in rows] == list(range(30, 301, 30))
    assert all(row["median_ms"] > 0 for row in rows)

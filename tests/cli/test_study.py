"""`flexlam study`: the tiny profile whole, on the real games, and what is refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import run_command as run


def test_the_tiny_profile_runs_whole_and_a_second_call_computes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    arguments = ("study", "tradeoff", "--profile", "tiny", "--out", tmp_path, "--quiet", "--workers", 1)
    said = run(*arguments)
    assert said.code == 0, said.err
    assert "inconclusive" in said.out and "Fixed-K + prefix, k = 4" in said.out
    results = json.loads((tmp_path / "results.json").read_text())
    assert {claim["verdict"] for claim in results["claims"]} == {"inconclusive"}, "two seeds show nothing"
    assert results["environment"]["packages"]["torch"] and results["cost"]["lam"] > 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("done.json")}
    assert len(before) == 1 + 2 * (1 + 4 + 9), "a recording; for each seed a table, four models, nine kinds of fits"
    assert run(*arguments).code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("done.json")} == before
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == results["rows"]


def test_what_is_unknown_is_refused_before_anything_is_written(refused: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused("study", "tradeof", "--out", out, tells=("no study called 'tradeof'", "Did you mean 'tradeoff'"))
    refused("study", "tradeoff", "--profile", "cup", "--out", out, tells=("no profile called 'cup'", "'cpu'"))
    refused("study", "tradeoff", "--profile", "tiny", "--only", 9, "--out", out, tells=("has the seeds", "got 9"))
    refused("study", "tradeoff", "--overlay", "flickr", "--out", out, tells=("Did you mean 'flicker'",))
    refused("study", "tradeoff", "--workers", 0, "--out", out, tells=("num_workers",))
    nowhere = tmp_path / "nowhere"
    refused("study", "tradeoff", "--merge", nowhere, "--out", out, tells=(str(nowhere), "holds no study"))
    assert not out.exists()


@pytest.mark.slow
def test_killed_anywhere_and_restarted_it_gives_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")

    def command(out: Path) -> list[str]:
        words = ["study", "tradeoff", "--profile", "tiny", "--out", str(out), "--quiet", "--workers", "2"]
        return [sys.executable, "-m", "flexlam", *words]

    subprocess.run(command(tmp_path / "whole"), check=True, stdout=subprocess.DEVNULL)
    waits, kills = random.Random(time.time_ns()), 0
    while True:
        process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            assert process.wait(timeout=waits.uniform(6, 20)) == 0
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            kills += 1
    assert kills > 0
    whole, killed = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed"))
    assert killed["rows"] == whole["rows"] and killed["claims"] == whole["claims"]

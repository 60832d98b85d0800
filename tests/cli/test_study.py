"""`flexlam study`: every study whole at the tiny profile, on the real games, and what is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from command_line import run_command as run
from command_line import write_dataset
from flexlam.cli.options import overlays_by_name
from flexlam.core import catalog
from flexlam.data.store import FrameStore
from flexlam.study.config import load_profile

# The map is thirteen variations of everything.
STUDIES = [
    pytest.param(name, marks=pytest.mark.slow) if name == "map" else name
    for name in sorted(catalog.names("study"), key=lambda name: name != "tradeoff")
]
QUICK = ("--profile", "tiny", "--num-workers", 1, "--quiet")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Computed once, used by every study."""
    pytest.importorskip("vizdoom")
    return tmp_path_factory.mktemp("steps")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_whole_and_few_seeds_show_nothing(name: str, steps: Path, tmp_path: Path) -> None:
    few = ("--seeds", 0) if name == "map" else ()
    said = run("study", name, *QUICK, *few, "--out", tmp_path, "--steps", steps)
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["finished"][0] == results["finished"][1] > 0
    assert results["claims"] and {claim["verdict"] for claim in results["claims"]} == {"inconclusive"}
    assert len({claim["id"] for claim in results["claims"]}) == len(results["claims"])
    assert results["command"].startswith(f"flexlam study {name} --profile tiny")
    table = (tmp_path / "table.md").read_text()
    cells = "".join(line for line in table.splitlines() if "inconclusive" not in line)  # one seed has no interval
    assert table in said.out and " – |" not in cells, "every cell has a figure"


def test_a_second_call_computes_nothing(steps: Path, tmp_path: Path) -> None:
    arguments = ("study", "tradeoff", *QUICK, "--steps", steps)
    assert run(*arguments, "--out", tmp_path / "one").code == 0
    before = {path: path.stat().st_mtime_ns for path in steps.rglob("done.json")}
    assert run(*arguments, "--out", tmp_path / "other").code == 0
    assert {path: path.stat().st_mtime_ns for path in steps.rglob("done.json")} == before
    one, other = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "other"))
    assert one["rows"] == other["rows"] and one["environment"]["packages"]["torch"] and one["cost"]["lam"] > 0


def test_a_run_is_held_against_committed_results(steps: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    arguments = ("study", "reconstruction", *QUICK, "--steps", steps, "--out", tmp_path / "out")
    assert run(*arguments).code == 0
    committed = tmp_path / "committed.json"
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    committed.write_text(json.dumps(results))
    said = run(*arguments, "--against", committed)
    assert said.code == 0 and "| inside |" in said.out and "OUTSIDE" not in said.out
    low, high = results["claims"][0]["ci95"]
    results["claims"][0]["ci95"] = [low + 100, high + 100]
    committed.write_text(json.dumps(results))
    said = run(*arguments, "--against", committed)
    assert said.code == 1 and said.out.count("OUTSIDE") == 1
    refused("study", "prefix", *QUICK, "--against", committed, tells=("'reconstruction'", "this is 'prefix'"))
    other = (*arguments[:-1], tmp_path / "other", "--num-test", 100)
    told = run(*other, "--against", committed)
    assert told.code == 2 and "other settings: num_test" in told.err
    refused(*arguments, "--num-test", 100, tells=("holds results of other settings (num_test)", "--out"))
    elsewhere = ("--steps", tmp_path / "steps", "--out", tmp_path / "no", "--merge", steps)
    refused("study", "prefix", *QUICK, "--num-test", 100, *elsewhere, tells=("holds none of the 2 measurements",))
    committed.write_text("{")
    refused("study", "prefix", *QUICK, "--against", committed, tells=("is no results.json",))


def test_your_own_dataset_takes_the_place_of_a_recording(tmp_path: Path, refused: Callable[..., str]) -> None:
    write_dataset(tmp_path / "data")
    arguments = ("study", "prefix", *QUICK, "--seeds", 0, "--steps", tmp_path / "steps", "--dataset")
    assert run(*arguments, tmp_path / "data", "--out", tmp_path / "out").code == 0
    (data,) = (tmp_path / "steps").glob("data-*")
    assert FrameStore.open(data / "store").num_episodes == 12
    # The same files elsewhere are the same step; other files are another one.
    moved = tmp_path / "elsewhere" / "data"
    shutil.move(tmp_path / "data", moved)
    assert run(*arguments, moved, "--out", tmp_path / "out").code == 0
    assert len(list((tmp_path / "steps").glob("data-*"))) == 1
    write_dataset(tmp_path / "more", num_episodes=13)
    assert run(*arguments, tmp_path / "more", "--out", tmp_path / "another").code == 0
    assert len(list((tmp_path / "steps").glob("data-*"))) == 2
    returns = ("study", "returns", *QUICK, "--acting.tasks", "basic", "--steps", tmp_path / "steps", "--dataset")
    refused(*returns, moved, "--out", tmp_path / "no", tells=("has no task basic",))
    refused("study", "narrow", *returns[2:-1], "--dataset", moved, tells=("no task", "--narrow.source"))
    overlaid = ("--dataset", moved, "--overlay", "flicker", "--out", tmp_path / "no")
    refused("study", "prefix", *QUICK, *overlaid, tells=("--overlay", "--dataset"))


def test_an_overlay_lies_over_everything_that_is_recorded() -> None:
    config = load_profile("cpu").under(overlays_by_name(("texture",)))
    others = (config.acting, config.narrow, config.narrow_pair)
    recordings = (config.recording, config.explored, *(other.recording for other in others))
    assert all(recording is not None for recording in recordings)
    assert {tuple(overlay.name for overlay in recording.overlays) for recording in recordings if recording} == {
        ("texture",)
    }


def test_any_setting_can_be_changed_and_label_noise_is_one(steps: Path, tmp_path: Path) -> None:
    changed = ("--seeds", 0, "--label-counts", 48, "--label-noise", 0.5, "--acting.tasks")  # no tasks
    said = run("study", "prefix", *QUICK, *changed, "--out", tmp_path, "--steps", steps)
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["labels"] for row in results["rows"]} == {48} and {row["seed"] for row in results["rows"]} == {0}
    assert results["config"]["label_noise"] == 0.5 and results["config"]["acting"]["tasks"] == []


def test_what_is_unknown_is_refused_before_anything_is_written(refused: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused("study", tells=("Give a study first", "tradeoff"))
    refused("study", "tradeof", "--out", out, tells=("no study called 'tradeof'", "Did you mean 'tradeoff'"))
    refused("study", "tradeoff", "--profile", "cup", "--out", out, tells=("no profile called 'cup'", "'cpu'"))
    tiny = ("--profile", "tiny", "--out", out)
    refused("study", "tradeoff", *tiny, "--only", 9, tells=("no seed 9", "it has 0, 1"))
    refused("study", "tradeoff", *tiny, "--only-methods", "Flex", tells=("no method 'Flex'", "'FlexLAM'"))
    refused("study", "tradeoff", *tiny, "--overlay", "flickr", tells=("Did you mean 'flicker'",))
    refused("study", "tradeoff", *tiny, "--num-workers", 0, tells=("--num-workers", "0"))
    refused("study", "joint", *tiny, "--label-noise", 0.1, tells=("label_noise is 0.1", "joint"))
    refused("study", "returns", *tiny, "--acting.tasks", tells=("need tasks to act in",))
    nowhere = tmp_path / "nowhere"
    refused("study", "tradeoff", *tiny, "--merge", nowhere, tells=(str(nowhere), "holds no finished steps"))
    refused("study", "tradeoff", *tiny, "--dataset", nowhere, tells=("no dataset", str(nowhere)))
    assert not out.exists()


@pytest.mark.slow
def test_killed_anywhere_and_restarted_it_gives_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")

    def command(out: Path) -> list[str]:
        words = ["study", "tradeoff", "--profile", "tiny", "--out", str(out / "out"), "--quiet"]
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
    whole, killed = (json.loads((tmp_path / name / "out" / "results.json").read_text()) for name in ("whole", "killed"))
    assert killed["rows"] == whole["rows"] and killed["claims"] == whole["claims"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["tradeoff", "joint", "returns"])
def test_studies_run_on_a_gpu_that_their_workers_share(name: str, tmp_path: Path) -> None:
    said = run("study", name, "--profile", "tiny", "--num-workers", 2, "--quiet", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["finished"][0] == results["finished"][1] and results["environment"]["machine"]["accelerator"]

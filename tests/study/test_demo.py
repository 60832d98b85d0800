import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexlam.acting.agent import Agent
from flexlam.cli import main
from flexlam.core.errors import OutputError
from flexlam.lam.model import LatentActionModel
from flexlam.presets.base import Preset, load_preset
from flexlam.report.inputs import Latency, Returns
from flexlam.study import demo
from flexlam.study.demo import run_demo
from flexlam.study.release import release


@pytest.fixture(scope="module")
def preset() -> Preset:
    return load_preset("vizdoom-tiny")


def test_the_demo_runs_end_to_end_and_resumes_where_it_stopped(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    with monkeypatch.context() as patch:
        patch.setattr(demo, "measure_alignment", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["demo", "--preset", "vizdoom-tiny", "--out", str(out), "--quiet"]) == 130
    assert not (out / "results.json").exists()
    made = (out / "lam" / "model" / "manifest.json").stat().st_mtime_ns
    assert main(["demo", "--preset", "vizdoom-tiny", "--out", str(out), "--resume", "--quiet"]) == 0
    assert (out / "lam" / "model" / "manifest.json").exists()
    printed = capsys.readouterr().out
    assert "report.html" in printed and "k = 4" in printed
    results = json.loads((out / "results.json").read_text())
    assert {"k", "bits", "psnr", "action_loss", "action_accuracy"} <= results["rows"][0].keys()
    assert {"previous_action", "idm", "k0", "shuffled"} <= results["baselines"].keys()
    assert results["translator"] == "prefix-sampled" and results["decoder"] == "regression"
    assert results["num_labels"] == 64 and results["tasks"] == ["health_gathering", "predict_position"]
    assert [row["k"] for row in results["rows"]] == [0, 1, 2, 4]
    assert all(row["predicted_action_loss"] > 0 for row in results["rows"])
    acting_was_measured(results)
    page = (out / "report.html").read_text()
    titles = re.findall("<h2>([^<]+)</h2>", page)
    for title in ("How it acts", "How fast it decides", "Clips", "What it expects", "Prefix sweeps"):
        assert title in titles, titles
    assert "evidence" in page and page.count("data:image/webp;base64,") == 4, "a clip and a still of each task"
    agent = Agent.load(out / "lam", out / "policy", out / "translator", prefix_length=2, device="cpu")
    agent.reset(seed=0)
    assert agent.act(np.zeros((64, 64, 3), np.uint8)).shape == (1,)
    assert made == (out / "lam" / "model" / "manifest.json").stat().st_mtime_ns, "the trained model was kept"
    release(out, tmp_path / "released")
    released = LatentActionModel.from_pretrained(tmp_path / "released")
    video = np.load(tmp_path / "released" / "frames.npy")
    assert video.shape == (9, 64, 64, 3) and released.encode(video[:-1], video[1:]).indices.shape == (8, 4)
    assert "| k = 4" in (tmp_path / "released" / "README.md").read_text()


def acting_was_measured(results: dict[str, Any]) -> None:
    """Returns and milliseconds, in the schema that the page reads."""
    returns = Returns.parse(results["returns"], "the demo")
    assert [task.task for task in returns.tasks] == results["tasks"] and returns.num_labels == 64
    for task in returns.tasks:
        assert [row.k for row in task.rows] == [0, 1, 2, 4] and task.num_episodes == 2
        assert {"random", "shuffled", "cloning", "idm_cloning", "expert"} <= task.baselines.keys()
        assert {"random", "best_blind", "k0", "shuffled"} <= task.comparisons.keys()
        assert task.full.normalised is not None
    latency = Latency.parse(results["latency"], "the demo")
    assert [row.k for row in latency.rows] == [1, 2, 4] and latency.fit is not None
    assert all(results["parent_hashes"][name] for name in ("lam", "policy"))


def test_a_folder_in_use_and_other_settings_are_refused(preset: Preset, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds something"):
        run_demo(preset, tmp_path / "demo")
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    preset.save(other / "preset.json")
    changed = preset.model_copy(update={"recording": preset.recording.model_copy(update={"seed": 1})})
    with pytest.raises(OutputError, match="other settings"):
        run_demo(changed, other, resume=True)

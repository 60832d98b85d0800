import json
from pathlib import Path

import numpy as np
import pytest

from flexlam.cli import main
from flexlam.core.errors import OutputError
from flexlam.lam.model import LatentActionModel
from flexlam.presets.base import Preset, load_preset
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
    assert results["num_labels"] == 64 and results["tasks"] == ["health_gathering", "my_way_home"]
    assert [row["k"] for row in results["rows"]] == [0, 1, 2, 4]
    assert "evidence" in (out / "report.html").read_text()
    assert made == (out / "lam" / "model" / "manifest.json").stat().st_mtime_ns, "the trained model was kept"
    release(out, tmp_path / "released")
    released = LatentActionModel.from_pretrained(tmp_path / "released")
    video = np.load(tmp_path / "released" / "frames.npy")
    assert video.shape == (9, 64, 64, 3) and released.encode(video[:-1], video[1:]).indices.shape == (8, 4)
    assert "| k = 4" in (tmp_path / "released" / "README.md").read_text()


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

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from flexlam.envs import vizdoom_reference
from flexlam.envs.vizdoom import VizdoomSuite


def test_committed_table_is_complete_and_was_measured_on_fresh_seeds() -> None:
    table = json.loads(vizdoom_reference.TABLE.read_text())
    assert set(table["tasks"]) == set(VizdoomSuite.tasks) - {"arena"}
    assert table["seeds"] == [7000, 7049]
    assert table["vizdoom"]
    for row in table["tasks"].values():
        assert row["num_episodes"] == 50
        assert row["expert"] - row["random"] > 3 * (row["expert_stderr"] ** 2 + row["random_stderr"] ** 2) ** 0.5


def test_one_command_measures_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    command = [sys.executable, "-m", "flexlam.envs.vizdoom_reference", "--tasks", "basic", "--episodes", "3"]
    done = subprocess.run([*command, "--workers", "1", "--out", str(out)], capture_output=True, text=True, check=True)
    table = json.loads(out.read_text())
    row = table["tasks"]["basic"]
    assert table["seeds"] == [7000, 7002]
    assert table["vizdoom"] == version("vizdoom")
    assert row["expert"] > 40 > row["random"]
    assert row == vizdoom_reference.measure("basic", 3)
    assert "basic" in done.stdout
    assert list(tmp_path.iterdir()) == [out]


def test_too_few_episodes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        vizdoom_reference.main(["--episodes", "1"])
    assert stopped.value.code == 2
    assert "--episodes" in capsys.readouterr().err


def test_unwritable_place_is_an_error_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "table.json")
    assert vizdoom_reference.main(["--tasks", "basic", "--episodes", "2", "--workers", "1", "--out", out]) == 2
    assert "cannot be written" in capsys.readouterr().err

import json
from pathlib import Path

import pytest

from flexlam.core.errors import CheckpointError, OutputError
from flexlam.core.run_folder import RunFolder, open_or_plan, refuse_changed_settings

CONFIG = {"lam": {"num_slots": 4}, "seed": 0}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "lam", CONFIG, {"data": "abc"})


def make_checkpoint(run: RunFolder, step: int, whole: bool = True) -> None:
    run.checkpoint_path(step).mkdir(parents=True)
    if whole:
        (run.checkpoint_path(step) / "manifest.json").write_text("{}")


def test_a_run_records_settings_parents_and_environment(run: RunFolder) -> None:
    again = RunFolder.open(run.path, "lam")
    assert again.header == {"kind": "lam", "config": CONFIG, "parents": {"data": "abc"}}
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"] and environment["machine"]["cores"]


def test_an_existing_run_is_kept_unless_told(run: RunFolder) -> None:
    with pytest.raises(OutputError, match="--overwrite"):
        RunFolder.create(run.path, "lam", {}, {})
    assert RunFolder.open(run.path, "lam").header["config"] == CONFIG
    RunFolder.create(run.path, "lam", {}, {}, overwrite=True)
    assert RunFolder.open(run.path, "lam").header["config"] == {}


def test_kinds_are_checked(run: RunFolder) -> None:
    RunFolder.open(run.path, ("joint", "lam"))
    with pytest.raises(CheckpointError, match="is a lam run; expected a translator or joint run"):
        RunFolder.open(run.path, ("translator", "joint"))


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b"{}", b"3", b"\xff\xfe"])
def test_a_damaged_header_is_explained(run: RunFolder, content: bytes) -> None:
    (run.path / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a run folder"):
        RunFolder.open(run.path, "lam")


def test_a_folder_that_is_no_run_is_explained(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match="is not a run folder"):
            RunFolder.open(path, "lam")


def test_metrics_are_appended_and_a_torn_last_line_is_forgotten(run: RunFolder) -> None:
    assert run.metrics() == []
    run.log(1, loss=0.5)
    run.log(2, loss=0.4)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert run.metrics() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]
    run.rewind(1)
    run.log(2, loss=0.3)
    assert run.metrics() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.3}]


def test_only_whole_checkpoints_count(run: RunFolder) -> None:
    assert run.checkpoints() == []
    make_checkpoint(run, 20)
    make_checkpoint(run, 10)
    make_checkpoint(run, 30, whole=False)
    (run.path / "checkpoint" / ".00000040.abc.partial").mkdir()
    assert run.checkpoints() == [10, 20]
    run.forget_checkpoints_before(20)
    assert run.checkpoints() == [20]


def test_further_json(run: RunFolder) -> None:
    run.write_json("health.json", {"verdict": "collapsed"})
    assert run.read_json("health.json") == {"verdict": "collapsed"}
    for content in (b"{", b"\xff\xfe"):
        (run.path / "health.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"health.json cannot be read"):
            run.read_json("health.json")
    with pytest.raises(CheckpointError, match=r"nothing.json cannot be read"):
        run.read_json("nothing.json")


def test_resuming_with_other_settings_or_data_is_refused(run: RunFolder) -> None:
    refuse_changed_settings(run, CONFIG, {"data": "abc"})
    with pytest.raises(OutputError, match=r"lam.num_slots"):
        refuse_changed_settings(run, {"lam": {"num_slots": 8}, "seed": 0}, {"data": "abc"})
    with pytest.raises(OutputError, match="data"):
        refuse_changed_settings(run, CONFIG, {"data": "xyz"})


def test_two_processes_never_write_one_run(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "lam", {}, {})
    with run.claimed():
        for again in (lambda: RunFolder.open(run.path, "lam").claimed().__enter__(), lambda: run.start(overwrite=True)):
            with pytest.raises(OutputError, match="Another process is writing"):
                again()
    with run.claimed():
        pass


def test_a_new_run_is_planned_and_an_old_one_continued_with_its_own_settings_only(tmp_path: Path) -> None:
    path, parents = tmp_path / "run", {"data": "abc"}
    planned = open_or_plan(path, "lam", CONFIG, parents, resume=False)
    assert not path.exists()
    with pytest.raises(CheckpointError, match="is not a run folder"):
        open_or_plan(path, "lam", CONFIG, parents, resume=True)
    planned.start(overwrite=False)
    assert open_or_plan(path, "lam", CONFIG, parents, resume=True).header == planned.header
    with pytest.raises(OutputError, match="seed"):
        open_or_plan(path, "lam", {**CONFIG, "seed": 1}, parents, resume=True)

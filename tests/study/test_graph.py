"""Steps are computed once, by whoever is free; what an interruption left is continued."""

import json
from pathlib import Path
from typing import Any

import pytest

from flexlam.core.errors import CheckpointError, OutputError
from flexlam.study.graph import Step, Workspace, write_rows


def count(step: Step, folder: Path, parents: list[Path]) -> None:
    """Note that it ran; the row is the sum of the parents' and its own number."""
    with (folder / "ran").open("a") as file:
        file.write("once\n")
    values = [json.loads((parent / "rows.json").read_text())[0]["value"] for parent in parents]
    write_rows(folder, [{"value": sum(values) + step.settings["number"]}])


def step(kind: str, number: int, *parents: Step, work: Any = count) -> Step:
    return Step(kind, work, {"number": number}, parents)


def runs(workspace: Workspace, of: Step) -> int:
    path = workspace.folder(of) / "ran"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "steps")


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_is_needed_is_computed_once_and_in_order(workspace: Workspace, num_workers: int) -> None:
    data = step("data", 1)
    left, right = step("lam", 10, data), step("lam", 20, data)
    ends = [step("fits", 100, data, left), step("fits", 100, data, right), step("fits", 200, right)]
    workspace.compute(ends, num_workers)
    assert [workspace.rows(end)[0]["value"] for end in ends] == [112, 122, 221]
    assert all(runs(workspace, one) == 1 for one in (data, left, right, *ends))
    workspace.compute(ends, num_workers)
    assert all(runs(workspace, one) == 1 for one in (data, left, right, *ends))
    assert list(workspace.about(ends[0])["parents"]) == [data.name, left.name]


def test_changed_settings_are_another_step_for_all_that_depends_on_it_and_nothing_else(workspace: Workspace) -> None:
    def ends(of_lam: int) -> list[Step]:
        data = step("data", 1)
        return [step("floors", 5, data), step("fits", 100, step("lam", of_lam, data))]

    workspace.compute(ends(10), 1)
    floors, fits = ends(11)
    assert workspace.finished(floors) and workspace.finished(floors) and not workspace.finished(fits)
    workspace.compute([floors, fits], 1)
    assert workspace.rows(fits)[0]["value"] == 112
    assert runs(workspace, floors) == 1 and runs(workspace, step("data", 1)) == 1


def test_what_it_is_called_does_not_name_a_step() -> None:
    one, other = (Step("lam", count, {"number": 1}, (), {"method": name}) for name in ("a", "b"))
    assert one.name == other.name
    assert one.name != Step("lam", count, {"number": 2}).name != Step("fits", count, {"number": 2}).name


def test_an_interrupted_step_goes_on_where_it_stopped(workspace: Workspace) -> None:
    def breaks(step: Step, folder: Path, parents: list[Path]) -> None:
        if not (folder / "half").exists():
            (folder / "half").write_text("done")
            raise KeyboardInterrupt
        count(step, folder, parents)

    data = step("data", 1)
    end = step("fits", 2, data, work=breaks)
    with pytest.raises(KeyboardInterrupt):
        workspace.compute([end], 1)
    assert workspace.finished(data) and not workspace.finished(end)
    workspace.compute([end], 1)
    assert workspace.rows(end) == [{"value": 3}]
    assert runs(workspace, data) == 1


def test_a_finished_step_does_without_its_parents(workspace: Workspace, tmp_path: Path) -> None:
    data = step("data", 1)
    ends = [step("fits", 2, data), step("fits", 3, data)]
    elsewhere = Workspace(tmp_path / "elsewhere")
    elsewhere.compute(ends[:1], 1)
    assert workspace.merge(elsewhere.path, ends) == 1
    assert workspace.finished(ends[0]) and not workspace.finished(data), "only results travel"
    workspace.compute(ends[:1], 1)
    assert not workspace.finished(data)
    workspace.compute(ends, 1)
    assert [workspace.rows(end)[0]["value"] for end in ends] == [3, 4]
    assert workspace.merge(elsewhere.path, ends) == 0


def test_an_error_in_a_step_is_told_and_what_is_done_stays(workspace: Workspace) -> None:
    def fails(step: Step, folder: Path, parents: list[Path]) -> None:
        raise OutputError("There is no room left.")

    data = step("data", 1)
    with pytest.raises(OutputError, match="no room"):
        workspace.compute([step("fits", 2, data, work=fails)], 2)
    assert workspace.finished(data)


def test_damaged_rows_say_how_to_mend_them(workspace: Workspace) -> None:
    data = step("data", 1)
    workspace.compute([data], 1)
    (workspace.folder(data) / "rows.json").write_text("[{")
    with pytest.raises(CheckpointError, match="Remove its folder"):
        workspace.rows(data)

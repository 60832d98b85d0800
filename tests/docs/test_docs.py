"""Code blocks of README and docs run as they stand."""

import contextlib
import importlib.util
import io
import json
import re
import shlex
from pathlib import Path

import pytest

from flexlam.cli import VERBS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(page.read_text()) if kind == language]


def run_python(code: str) -> None:
    """Run a block; a comment behind a print tells what it must print."""
    expected = [line.split("  # ", 1)[1] for line in code.splitlines() if line.startswith("print(") and "  # " in line]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "block", "exec"), {})
    assert out.getvalue().splitlines()[: len(expected)] == expected


def test_the_pipeline_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "pipeline.md"
    for block in blocks(page, "bash"):
        for line in block.splitlines():
            assert main([*shlex.split(line)[1:]]) == 0, line
    for block in blocks(page, "python"):
        run_python(block)


def test_the_policies_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the study on two cores, which made the committed results."""
    monkeypatch.chdir(tmp_path)
    for line in "".join(blocks(ROOT / "docs" / "policies.md", "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if "cpu" in words:
            committed = json.loads((ROOT / words[words.index("--out") + 1] / "results.json").read_text())
            assert committed["command"] == shlex.join(words)
        else:
            assert main(words[1:]) == 0, line


def test_the_worlds_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what needs packages that are not installed."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "worlds.md"
    missing = [name for name in ("dm_control", "metaworld", "procgen") if importlib.util.find_spec(name) is None]
    for block in blocks(page, "bash"):
        if not any(f"--suite {name}" in block for name in missing):
            for line in block.splitlines():
                if line.startswith("flexlam"):
                    assert main(shlex.split(line)[1:]) == 0, line
    for block in blocks(page, "python"):
        run_python(block)


def test_the_python_of_the_readme_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = blocks(ROOT / "README.md", "python")
    assert found
    for block in found:
        assert len(block.splitlines()) <= 15
        run_python(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in "\n".join(blocks(page, "bash")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        if words[:1] == ["flexlam"]:
            assert words[1] in VERBS or " ".join(words[1:3]) in VERBS, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_repository_speaks_of_no_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(^|[\s\"'`(])/(root|home|work|opt|Users)/", page.read_text()), page.name


def test_the_vizdoom_page_shows_the_shipped_table() -> None:
    page = (ROOT / "docs" / "vizdoom.md").read_text()
    table = json.loads((ROOT / "src" / "flexlam" / "envs" / "vizdoom_reference.json").read_text())
    for task, row in table["tasks"].items():
        cells = [f"{row[name]:.2f} ± {row[f'{name}_stderr']:.2f}" for name in ("expert", "random")]
        assert f"| {task} | {cells[0]} | {cells[1]} |" in page


def test_the_upgraded_model_decodes_prefixes_that_the_ordinary_one_does_not() -> None:
    """examples/upgrade_vq_lam.py, with a fifth of its steps."""
    spec = importlib.util.spec_from_file_location("upgrade", ROOT / "examples" / "upgrade_vq_lam.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    found = example.main(["--num-steps", "300"])
    ordinary, upgraded = found["ordinary"], found["variable-length"]
    assert upgraded[1] < 0.9 * ordinary[1] and upgraded[2] < ordinary[2]
    assert upgraded[4] < upgraded[1] < upgraded[0]

"""Imports run downward only (.importlinter), and help answers without loading torch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HELP = """
import contextlib, io, json, sys
from flexlam.cli import VERBS, main
found = {}
for words in ["", "--help", *VERBS]:
    arguments = words.split() if words.startswith("-") or not words else [*words.split(), "--help"]
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main(arguments)
    found[words] = {"characters": len(text.getvalue()), "torch": "torch" in sys.modules}
print(json.dumps(found))
"""


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd)


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run("-c", command, "--config", str(config), "--no-cache", "--no-logo")


def test_imports_run_downward_only() -> None:
    done = lint(ROOT / ".importlinter")
    assert done.returncode == 0, done.stdout


def test_an_upward_import_would_be_found(tmp_path: Path) -> None:
    """The same contract over a copy of the package in which the lowest floor imports the highest."""
    shutil.copytree(ROOT / "src" / "flexlam", tmp_path / "flexlam", ignore=shutil.ignore_patterns("__pycache__"))
    errors = tmp_path / "flexlam" / "core" / "errors.py"
    errors.write_text(errors.read_text() + "\n\ndef _upward():\n    import flexlam.cli.demo\n")
    command = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import importlinter.cli as c; c.lint_imports_command()"
    )
    done = run("-c", command, "--config", str(ROOT / ".importlinter"), "--no-cache", "--no-logo", cwd=tmp_path)
    assert done.returncode == 1
    assert "flexlam.core.errors -> flexlam.cli.demo" in done.stdout


def test_importing_the_package_loads_no_torch() -> None:
    done = run("-c", "import sys, flexlam; print('torch' in sys.modules, flexlam.__version__)")
    assert done.stdout.startswith("False"), done.stderr


@pytest.fixture(scope="module")
def helps() -> dict[str, dict]:
    done = run("-c", HELP)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_of_every_verb_loads_no_torch(helps: dict[str, dict]) -> None:
    from flexlam.cli import VERBS

    assert set(helps) == {"", "--help", *VERBS}
    assert not [verb for verb, found in helps.items() if found["torch"]]
    assert not [verb for verb, found in helps.items() if found["characters"] < 100], "help says something"


def test_public_names_load_on_first_use() -> None:
    done = run("-c", "import sys, flexlam; flexlam.LatentActionModel; print('torch' in sys.modules)")
    assert done.stdout.strip() == "True", done.stderr


def test_every_public_name_is_there() -> None:
    import flexlam

    for name in flexlam.__all__:
        assert getattr(flexlam, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = flexlam.nonsense

import json
import shutil
from pathlib import Path

import pytest
import torch

from flexlam.core import machine
from flexlam.core.errors import ConfigError
from flexlam.core.machine import choose_device, choose_precision, describe_environment, describe_machine


def test_descriptions_are_plain_and_say_what_matters() -> None:
    environment = describe_environment()
    assert json.loads(json.dumps(environment)) == environment
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["machine"] == describe_machine()
    assert environment["machine"]["torch_threads"] == torch.get_num_threads()


def test_the_command_keeps_no_path_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/flexlam", "list"])
    assert describe_environment()["command"] == ["flexlam", "list"]


def test_no_git_and_no_repository_are_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._git_revision() is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_outside_a_repository_there_is_no_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "machine.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine._git_revision() is None


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cuda", "mps", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_refused_with_those_there() -> None:
    with pytest.raises(ConfigError, match=r"'cuda' is not available here. Available: .*cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("has_bf16", [True, False])
def test_precision(monkeypatch: pytest.MonkeyPatch, has_bf16: bool) -> None:
    monkeypatch.setattr(machine, "_cpu_has_bf16", lambda: has_bf16)
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) == (torch.bfloat16 if has_bf16 else torch.float32)
    assert choose_precision("bf16", cpu) == torch.bfloat16
    assert choose_precision("fp32", cpu) == torch.float32
    assert choose_precision("auto", torch.device("mps")) == torch.float32

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from fake_hub import TOKEN, Repository, hub_on_this_machine
from flexlam.core import hub
from flexlam.core.errors import CheckpointError, ConfigError, OutputError


@pytest.fixture
def repositories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Repository]]:
    with hub_on_this_machine(monkeypatch, tmp_path / "cache") as repositories:
        yield repositories


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "a.txt").write_text("first")
    (tmp_path / "folder" / "inner" / "b.bin").write_bytes(bytes(range(256)))
    return tmp_path / "folder"


def test_what_is_pushed_is_fetched(repositories, folder):
    address = hub.push(folder, "me/thing", private=True)
    assert "me/thing/commit/" in address and repositories["me/thing"].private
    found = hub.fetch("me/thing")
    assert (found / "a.txt").read_text() == "first"
    assert (found / "inner" / "b.bin").read_bytes() == bytes(range(256))
    assert hub.model_folder("hf://me/thing") == found


def test_a_revision_stays_what_it_was(repositories, folder):
    hub.push(folder, "me/thing")
    (folder / "a.txt").write_text("second")
    hub.push(folder, "me/thing")
    assert (hub.fetch("me/thing") / "a.txt").read_text() == "second"
    first = repositories["me/thing"].name(1)
    assert (hub.model_folder(f"hf://me/thing@{first}") / "a.txt").read_text() == "first"


def test_what_is_not_there_is_named(repositories, folder):
    with pytest.raises(CheckpointError, match=r"me/nothing cannot be fetched: there is no such repository"):
        hub.fetch("me/nothing")
    hub.push(folder, "me/thing")
    with pytest.raises(
        CheckpointError, match=r"me/thing@v9 cannot be fetched: there is no such repository or revision"
    ):
        hub.fetch("me/thing", "v9")


@pytest.mark.parametrize("token", ["wrong", ""])
def test_without_permission_nothing_is_uploaded(repositories, folder, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(OutputError, match="hf auth login"):
        hub.push(folder, "me/thing")
    assert not repositories


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch, folder, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(CheckpointError, match=r"me/thing cannot be fetched: .*connection"):
        hub.fetch("me/thing")
    with pytest.raises(OutputError, match=r"cannot be uploaded as me/thing: .*connection"):
        hub.push(folder, "me/thing")


def test_names_that_can_be_none_are_refused(folder):
    for name in ("thing", "a/b/c", "../b", "a b/c", ""):
        with pytest.raises(ConfigError, match="OWNER/NAME"):
            hub.fetch(name)
        with pytest.raises(ConfigError, match="OWNER/NAME"):
            hub.push(folder, name)


def test_a_local_place_is_a_path():
    assert hub.model_folder("runs/lam") == Path("runs/lam")
    assert hub.model_folder(Path("runs/lam")) == Path("runs/lam")


def test_the_missing_package_is_named(monkeypatch, folder):
    import sys

    assert huggingface_hub  # it is there
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    with pytest.raises(ConfigError, match=r'pip install "flexlam\[hub\]"'):
        hub.fetch("me/thing")

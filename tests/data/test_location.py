from pathlib import Path

import pytest
from upath import UPath

from flexlam.core.errors import DataError
from flexlam.data.location import files_below, is_local, located, name_of, natural_order, read_bytes, stream, task_of
from flexlam.data.readers import open_dataset


def test_paths_stay_paths_and_urls_become_locations():
    assert located("a/b") == Path("a/b") and is_local(located("a/b"))
    assert located("memory://x/y") == UPath("memory://x/y") and not is_local(located("memory://x/y"))
    assert located(Path("a")) == Path("a")


def test_what_cannot_be_reached_is_told():
    with pytest.raises(DataError, match="nosuch://bucket/data cannot be opened"):
        located("nosuch://bucket/data")
    with pytest.raises(DataError, match="There is no dataset at memory://nothing"):
        open_dataset("memory://nothing/here")
    with pytest.raises(DataError, match="s3://bucket/data cannot be"):
        open_dataset("s3://bucket/data")
    for read in (read_bytes, stream):
        with pytest.raises(DataError, match="missing cannot be"):
            read(Path("missing"))


def test_files_and_their_names(tmp_path):
    for name in ("a/x10.PNG", "a/x9.png", "b.png", "a/.hidden.png", "a/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = sorted(files_below(tmp_path, ".png"), key=natural_order)
    assert [name_of(file, tmp_path) for file in found] == ["a/x9.png", "a/x10.PNG", "b.png"]
    assert [task_of(file, tmp_path) for file in found] == ["a", "a", tmp_path.name]
    lone = tmp_path / "b.png"
    assert list(files_below(lone, ".png")) == [lone] and (name_of(lone, lone), task_of(lone, lone)) == ("b.png", "b")

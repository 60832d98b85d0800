import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flexlam.core.errors import OutputError
from flexlam.core.files import (
    atomic_folder,
    content_hash,
    explain_write_errors,
    file_hash,
    new_output_folder,
    try_lock,
    write_bytes,
    write_text,
)

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from flexlam.core.errors import OutputError
from flexlam.core.files import atomic_folder, write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
place = Path(sys.argv[1])
try:
    if sys.argv[2] == "file":
        write_bytes(place, b"x" * 5000)
    else:
        with atomic_folder(place) as folder:
            (folder / "small").write_bytes(b"x" * 10)
            (folder / "big").write_bytes(b"x" * 5000)
except OutputError as error:
    sys.exit(str(error))
"""


def everything_below(path: Path) -> list[Path]:
    return sorted(path.rglob("*"))


def test_write_bytes_replaces_and_makes_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_bytes(path, b"one")
    write_text(path, "zwö")
    assert path.read_text() == "zwö"
    assert everything_below(tmp_path) == [tmp_path / "a", path]


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_the_old_content_or_nothing(tmp_path: Path, what: str, existing: bool) -> None:
    place = tmp_path / "result"
    if existing and what == "file":
        place.write_text("old")
    elif existing:
        place.mkdir()
        (place / "old").write_text("old")
    before = everything_below(tmp_path)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, place, what], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no room left" in done.stderr and str(place) in done.stderr
    assert everything_below(tmp_path) == before
    if existing:
        assert (place if what == "file" else place / "old").read_text() == "old"


def test_atomic_folder_appears_whole(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "model"
    with atomic_folder(place) as folder:
        (folder / "x").write_text("1")
        assert not place.exists()
    assert [path.name for path in place.iterdir()] == ["x"]
    assert place.stat().st_mode & 0o777 == 0o755


def test_atomic_folder_replaces_the_old_one(tmp_path: Path) -> None:
    place = tmp_path / "model"
    for name in ("old", "new"):
        with atomic_folder(place) as folder:
            (folder / name).write_text("1")
    assert everything_below(tmp_path) == [place, place / "new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_inside_leaves_the_old_folder_alone(tmp_path: Path, error: type[BaseException]) -> None:
    place = tmp_path / "model"
    with atomic_folder(place) as folder:
        (folder / "old").write_text("1")
    with pytest.raises(error), atomic_folder(place) as folder:
        (folder / "new").write_text("1")
        raise error
    assert everything_below(tmp_path) == [place, place / "old"]


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.write_text("precious")
    with pytest.raises(OutputError, match="cannot be written"), atomic_folder(place) as folder:
        (folder / "new").write_text("1")
    assert everything_below(tmp_path) == [place] and place.read_text() == "precious"


@pytest.mark.parametrize("below", ["file/out", "file/deep/out"])
def test_a_place_below_a_file_is_explained(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("precious")
    place = tmp_path / below
    with pytest.raises(OutputError, match="cannot be written"):
        write_bytes(place, b"1")
    with pytest.raises(OutputError, match="cannot be written"), atomic_folder(place):
        pass
    with pytest.raises(OutputError, match="cannot be written"):
        new_output_folder(place, overwrite=False)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux' read-only /proc")
def test_a_read_only_place_is_explained() -> None:
    with pytest.raises((OutputError, FileNotFoundError)) as caught:
        new_output_folder(Path("/proc/sys/flexlam"), overwrite=False)
    assert caught.type is OutputError and "cannot be written" in str(caught.value)


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    for error in (OSError(errno.EIO, "Input/output error"), ValueError("ours")):
        with pytest.raises(type(error)), explain_write_errors(tmp_path):
            raise error


def test_new_output_folder_refuses_a_used_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    new_output_folder(tmp_path / "run", overwrite=False)
    (tmp_path / "run" / "x").write_text("1")
    with pytest.raises(OutputError, match="--overwrite") as refused:
        new_output_folder(tmp_path / "run", overwrite=False)
    assert "--resume" not in str(refused.value), "no run lies there"
    with pytest.raises(OutputError, match="flexlam did not write"):
        new_output_folder(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "x").exists()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(OutputError, match=r"--overwrite.*--resume"):
        new_output_folder(tmp_path / "run", overwrite=False)
    new_output_folder(tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "x").exists()
    assert not list(tmp_path.glob("*.probe")) and not list(tmp_path.glob(".*"))


def test_new_output_folder_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("1")
    with pytest.raises(OutputError, match="is a file"):
        new_output_folder(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run").read_text() == "1"


def test_overwriting_spares_links_and_what_they_point_to(tmp_path: Path) -> None:
    for name in ("scratch", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
        (tmp_path / name / "run.json").write_text("{}")
    (tmp_path / "scratch" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    new_output_folder(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run").is_symlink() and not list((tmp_path / "scratch").iterdir())
    assert (tmp_path / "elsewhere" / "x").exists()


def test_overwriting_never_removes_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / "project").mkdir(parents=True)
    (tmp_path / "home" / "thesis.txt").write_text("1")
    monkeypatch.chdir(tmp_path / "home" / "project")
    for place in (Path(), Path(".."), tmp_path / "home"):
        (tmp_path / "home" / "project" / "x").write_text("1")
        with pytest.raises(OutputError, match="folder you are in"):
            new_output_folder(place, overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_hashes_follow_content_only(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data)
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") == content_hash(data)
    assert content_hash(data[:-1]) != content_hash(data)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        (tmp_path / f".out.{process}.abc.partial").mkdir()
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("1")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".out.{os.getppid()}.abc.partial", "out"]


def test_a_lock_is_held_by_one_at_a_time_and_freed_at_the_end(tmp_path: Path) -> None:
    with try_lock(tmp_path / "lock") as first, try_lock(tmp_path / "lock") as second:
        assert first and not second
    with try_lock(tmp_path / "lock") as third:
        assert third
    with pytest.raises(OutputError, match="cannot be written"), try_lock(tmp_path / "nowhere" / "lock"):
        pass

"""Files that are either whole or absent: write beside, flush, rename."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flexlam.core.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


def content_hash(data: bytes) -> str:
    """First 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """`content_hash` of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()[:16]


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one step; after a crash it holds the old content or the new, never half.

    Raises:
        OutputError: the disk is full or the place cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without an error.

    Raises:
        OutputError: the disk is full or the place cannot be written; nothing is left behind.
    """
    path = path.resolve()  # a link to another disk stays a link
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_what_the_killed_left(path)
        prefix = f".{path.name}.{os.getpid()}."
        beside = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=path.parent))
        beside.chmod(0o755)
        try:
            yield beside
            replace_folder(beside, path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Put a folder in the place of what is at `path`, both on the same disk.

    Raises:
        OutputError: the place cannot be written.
    """
    with explain_write_errors(path):
        if path.is_dir():
            old = new.with_suffix(".old")
            path.rename(old)
            new.rename(path)
            shutil.rmtree(old)
        else:
            new.rename(path)


def _remove_what_the_killed_left(path: Path) -> None:
    """Half-written folders of processes that are no more."""
    for left in path.parent.glob(f".{path.name}.*.partial"):
        process = left.name.removeprefix(f".{path.name}.").split(".")[0]
        if process.isdigit() and not process_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def process_alive(process: int) -> bool:
    """Whether a process with that number is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# Besides plain refusals, what file systems such as /proc answer where nothing can be created.
_CANNOT_WRITE = (
    *(errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
    *(errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG, errno.ELOOP),
)


@contextlib.contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into an `OutputError` that says how to mend them."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise OutputError(
                f"There is no room left to write {path} ({error.strerror}). "
                "Free some space or choose another --out folder; nothing half-written was kept."
            ) from error
        if error.errno in _CANNOT_WRITE:
            where = f": {error.filename}" if error.filename and str(error.filename) != str(path) else ""
            raise OutputError(
                f"{path} cannot be written ({error.strerror}{where}). Choose an --out folder that you may write to."
            ) from error
        raise


# One of these stands in everything that flexlam writes, finished or not.
_OURS = (
    *("environment.json", "run.json", "manifest.json", "preset.json", "results.json"),
    *("meta/info.json", "_encoding.json", "mixture.json", "onnx.json"),
)

_RESUMABLE = (
    " (What lies there is a run. If `train lam`, `policy`, `joint` or `tuned-policy` was interrupted, the same command "
    "goes on with --resume; what is finished needs nothing more.)"
)


def check_output_folder(path: Path, overwrite: bool) -> None:
    """Make sure that a fresh result can be put at `path`, and leave what is there.

    Raises:
        OutputError: the folder exists and is not empty (and `overwrite` is off, or flexlam did not write it), or
            cannot be written.
    """
    with explain_write_errors(path):
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file; give a folder for the output.")
        if path.is_dir() and any(path.iterdir()):
            if not overwrite:
                raise OutputError(
                    f"{path} already holds something. Add --overwrite to replace it, or choose another --out folder."
                    + (_RESUMABLE if (path / "run.json").exists() else "")
                )
            if Path.cwd().is_relative_to(path.resolve()):
                raise OutputError(f"{path} holds the folder you are in; choose another --out folder.")
            if not any((path / name).exists() for name in _OURS):
                raise OutputError(f"{path} holds what flexlam did not write; if you mean to, remove it yourself.")
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.parent / f".{path.name}.{os.getpid()}.probe"
        probe.touch()
        probe.unlink()


def new_output_folder(path: Path, overwrite: bool) -> None:
    """Make sure that a fresh result can be put at `path`; what it held is removed, only when told to.

    Raises:
        OutputError: as `check_output_folder`.
    """
    check_output_folder(path, overwrite)
    if path.is_dir():
        with explain_write_errors(path):
            _empty(path)


def _empty(path: Path) -> None:
    """Remove what a folder holds, and not the folder, which may be a link to another disk."""
    for child in path.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


@contextlib.contextmanager
def try_lock(path: Path, patience: float = 0.0) -> Iterator[bool]:
    """Whether this process alone holds a lock file now; the system frees it when the block or the process ends.

    With patience it tries for so many seconds: children of a killed process hold its lock until they have died, too.

    Where the system has no such locks, everybody holds them.

    Raises:
        OutputError: the place cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with explain_write_errors(path):
            file = stack.enter_context(path.open("a"))
        deadline = time.monotonic() + patience
        while not (mine := _lock(file)) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield mine


def _lock(file: IO[str]) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

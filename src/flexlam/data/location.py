"""Where data lie: a local path, or a URL of anything that fsspec opens (hf://, s3://, https://, memory://)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from upath import UPath

from flexlam.core.errors import DataError
from flexlam.core.files import content_hash

if TYPE_CHECKING:
    Location = Path
    ByteStream = IO[bytes]
else:
    Location = Path | UPath  # a URL; it has pathlib's methods, but is no file of this machine
    ByteStream = Any  # files, members of archives and remote files have no base in common


def located(place: str | Location) -> Location:
    """The location that a path or a URL names.

    Raises:
        DataError: the URL's scheme is unknown, or needs a package that is not installed.
    """
    if not isinstance(place, str):
        return place
    if "://" not in place:
        return Path(place)
    try:
        found = UPath(place)
        _ = found.fs  # wants the scheme's package
    except ImportError as error:
        raise DataError(f"{place} cannot be opened: {error}.") from error
    except ValueError as error:
        raise DataError(f"{place} cannot be opened ({error}). Check the scheme.") from error
    return cast(Path, found)


def is_local(place: Location) -> bool:
    """Whether a location is a file or folder of this machine."""
    return isinstance(place, Path)


def opened(place: Location) -> Any:
    """What decoders take: the name of a local file, or an open stream of bytes that the caller closes."""
    return str(place) if is_local(place) else place.open("rb")


def read_bytes(place: Location) -> bytes:
    """The whole file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return place.read_bytes()
    except OSError as error:
        raise DataError(f"{place} cannot be read ({error}).") from error


def stream(place: Location) -> ByteStream:
    """The file, open for reading at any position.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        return place.open("rb")
    except OSError as error:
        raise DataError(f"{place} cannot be opened ({error}).") from error


def files_below(place: Location, *suffixes: str) -> Iterator[Location]:
    """The file itself, or every file below a folder, that ends in a (lower-case) suffix; hidden ones do not count."""
    for file in [place] if place.is_file() else place.rglob("*"):
        if file.name.lower().endswith(suffixes) and not file.name.startswith(".") and file.is_file():
            yield file


def relative(place: Location, root: Location) -> str:
    """The path below a root, with forward slashes; "" for the root itself."""
    inside = place.relative_to(root).as_posix()
    return "" if inside == "." else str(inside)


def name_of(file: Location, root: Location) -> str:
    """What messages call a file below a root, or the root itself."""
    return relative(file, root) or file.name


def task_of(file: Location, root: Location) -> str:
    """The task of a file below a root: its folder's path; the root's name for its own files, a lone file's own name."""
    if file == root:
        return file.stem
    return relative(file.parent, root) or root.absolute().name


def natural_order(name: str | Location) -> list[Any]:
    """A sort key under which "frame_2" comes before "frame_10"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(name))]


def fingerprint(place: Location) -> str:
    """Hash of the names and sizes of a dataset's files; hidden ones do not count."""
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    names = {file: name_of(file, place) for file in files}
    seen = [file for file, name in names.items() if not any(part.startswith(".") for part in name.split("/"))]
    return content_hash("\n".join(sorted(f"{names[file]} {file.stat().st_size}" for file in seen)).encode())

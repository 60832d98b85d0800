"""One file a dataset format; `open_dataset` finds the right one."""

from collections import Counter
from collections.abc import Callable
from itertools import islice

from flexlam.core import catalog
from flexlam.core.errors import ConfigError, DataError
from flexlam.data.episodes import Reader
from flexlam.data.location import Location, located
from flexlam.data.source import SourceConfig, as_configured


def open_dataset(place: str | Location, source: SourceConfig | None = None) -> Reader:
    """The reader of the format that a path or URL is in; rows are (o_t, a_t executed on seeing it).

    Raises:
        DataError: nothing is there, or it is in no known format, or it is damaged.
        ConfigError: the dataset has no such camera.
    """
    path, source = located(place), source or SourceConfig()
    known = f"Known formats: {', '.join(catalog.names('reader'))}."
    if not _exists(path):
        raise DataError(f"There is no dataset at {path}. Check the path. {known}")
    missing: list[str] = []
    for name in catalog.names("reader"):
        try:
            kind = catalog.lookup("reader", name)
        except ConfigError as error:  # an optional package
            missing.append(str(error))
            continue
        if kind.recognises(path):
            return as_configured(_with_camera(kind, path, source.camera), source)
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path} is an empty folder; expected a dataset. {known}")
    if (path / "manifest.json").is_file():
        raise DataError(f"{path} looks like a frame store; give the dataset that it was built from. {known}")
    raise DataError(" ".join([f"{path} is in no known format; it holds {_contents(path)}. {known}", *missing]))


def _with_camera(kind: Callable[..., Reader], path: Location, camera: str | None) -> Reader:
    reader = kind(path)
    if camera is None:
        return reader
    if not reader.info.cameras:
        raise ConfigError(f"{path} ({reader.info.format}) has one camera without a name; leave out the camera.")
    return kind(path, camera=camera)


def _exists(path: Location) -> bool:
    try:
        return path.exists()
    except Exception as error:  # of whatever library reaches it
        raise DataError(f"{path} cannot be reached ({error}). Check the address and what it needs.") from error


def _contents(path: Location) -> str:
    if path.is_file():
        return f"one {path.suffix or 'nameless'} file"
    kinds = Counter(file.suffix or "(no suffix)" for file in islice(path.rglob("*"), 1000) if file.is_file())
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "only empty folders"

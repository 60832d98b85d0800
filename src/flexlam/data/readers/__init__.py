"""One file a dataset format; `open_dataset` finds the right one."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import cast

from flexlam.core import catalog
from flexlam.core.errors import DataError
from flexlam.data.episodes import Reader


def open_dataset(path: Path) -> Reader:
    """The reader of the format that `path` is in.

    Raises:
        DataError: nothing is there, or it is in no known format.
    """
    path = Path(path)
    known = f"Known formats: {', '.join(catalog.names('reader'))}."
    if not path.exists():
        raise DataError(f"There is no dataset at {path}. Check the path. {known}")
    for name in catalog.names("reader"):
        reader = catalog.lookup("reader", name)
        if reader.recognises(path):
            return cast(Reader, reader(path))
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(f"{path} is an empty folder; expected a dataset. {known}")
    if (path / "manifest.json").is_file():
        raise DataError(f"{path} looks like a frame store; give the dataset that it was built from. {known}")
    raise DataError(f"{path} is in no known format; it holds {_contents(path)}. {known}")


def _contents(path: Path) -> str:
    if path.is_file():
        return f"one {path.suffix or 'nameless'} file"
    kinds = Counter(file.suffix or "(no suffix)" for file in islice(path.rglob("*"), 1000) if file.is_file())
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "only empty folders"

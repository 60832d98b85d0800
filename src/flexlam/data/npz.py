"""Arrays inside npz files, read row by row: such files hold hundreds of megabytes in one compressed array."""

import contextlib
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.location import ByteStream, Location, files_below, stream

_ERRORS = (OSError, ValueError, zipfile.BadZipFile, zlib.error, KeyError, EOFError)
_SKIP_BYTES = 1 << 20


def npz_shapes(place: Location) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays, from their headers alone.

    Raises:
        DataError: it is no npz file, or is damaged.
    """
    with _explained(place), stream(place) as file, zipfile.ZipFile(file) as archive:
        shapes = {}
        for member in archive.namelist():
            with archive.open(member) as array:
                shapes[member.removesuffix(".npy")] = _header(array)[0]
        return shapes


def any_shapes(place: Location) -> dict[str, tuple[int, ...]]:
    """`npz_shapes` of the first file below a place that can be read; empty if there is none among the first few."""
    for file in islice(files_below(place, ".npz"), 16):
        with contextlib.suppress(DataError):
            return npz_shapes(file)
    return {}


def read_npz(place: Location, name: str) -> np.ndarray:
    """A whole array; for small ones.

    Raises:
        DataError: it is missing or damaged, or holds Python objects.
    """
    with _explained(place), stream(place) as file, np.load(file, allow_pickle=False) as arrays:
        found: np.ndarray = arrays[name]
        return found


class NpzRows:
    """Rows of one array, cheapest in rising order: a compressed array can only be read forward."""

    def __init__(self, place: Location, name: str) -> None:
        self.place, self.name = place, name
        self._stack = contextlib.ExitStack()
        weakref.finalize(self, self._stack.close)
        self._rewind()

    def _rewind(self) -> None:
        self._stack.close()
        with _explained(self.place):
            archive = self._stack.enter_context(zipfile.ZipFile(self._stack.enter_context(stream(self.place))))
            self._file: ByteStream = self._stack.enter_context(archive.open(f"{self.name}.npy"))
            self.shape, self.dtype, fortran = _header(self._file)
            if fortran and len(self.shape) > 1:
                raise ValueError(f"the array {self.name!r} is stored column by column")
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        self._at = 0

    def rows(self, first: int, count: int) -> Iterator[np.ndarray]:
        """Rows first, first + 1, ... one at a time.

        Raises:
            DataError: the file ends before them or is damaged.
        """
        if first < self._at:
            self._rewind()
        with _explained(self.place):
            ahead = (first - self._at) * self._row_bytes
            while ahead:
                skipped = len(self._file.read(min(ahead, _SKIP_BYTES)))
                if not skipped:
                    raise EOFError("the file ends early")
                ahead -= skipped
            self._at = first
        for _ in range(count):
            with _explained(self.place):
                data = self._file.read(self._row_bytes)
                if len(data) != self._row_bytes:
                    raise EOFError("the file ends early")
            self._at += 1
            yield np.frombuffer(data, self.dtype).reshape(self.shape[1:])


def _header(file: ByteStream) -> tuple[tuple[int, ...], np.dtype, bool]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read from files")
    return shape, dtype, fortran


@contextlib.contextmanager
def _explained(place: Location) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        reason = f"no array {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{place} cannot be read ({reason}). It is damaged or of another kind; replace it.") from error

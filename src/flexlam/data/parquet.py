"""Parquet files, local or remote, for readers."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.errors import DataError
from flexlam.data.location import Location, is_local, stream


def open_parquet(path: Location) -> pq.ParquetFile:
    """The file, mapped into memory where it is local; read piece by piece where it is not."""
    return pq.ParquetFile(path, memory_map=True) if is_local(path) else pq.ParquetFile(stream(path))


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers or lists of numbers as (T, width)."""
    rows, flat = len(column), column.combine_chunks()
    while pa.types.is_list(flat.type) or pa.types.is_large_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    found: np.ndarray = flat.to_numpy(zero_copy_only=False).reshape(rows, -1)
    return found


@contextlib.contextmanager
def explained(path: Location) -> Iterator[None]:
    """Errors of reading as ours.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(
            f"{path} cannot be read ({error}). It is missing or damaged; download or recreate it."
        ) from error

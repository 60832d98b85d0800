"""The index of a frame store: a row for each frame with everything but its pixels."""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.data import extras
from flexlam.data.episodes import Columns
from flexlam.data.store import INDEX

ROWS_AT_ONCE = 65_536


def write_index(folder: Path, episodes: Iterable[Columns], kept_extras: Collection[str]) -> None:
    """Write index.parquet of the episodes in their order, with the extras of these names; in bounded memory."""
    writer: pq.ParquetWriter | None = None
    with contextlib.ExitStack() as stack:
        for table in _some_at_a_time(_table(number, columns, kept_extras) for number, columns in enumerate(episodes)):
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(folder / INDEX, table.schema))
            writer.write_table(table)


def _some_at_a_time(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    num_rows = 0
    for table in tables:
        waiting.append(table)
        num_rows += len(table)
        if num_rows >= ROWS_AT_ONCE:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, num_rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _table(number: int, columns: Columns, kept_extras: Collection[str]) -> pa.Table:
    length = len(columns.times)
    values: dict[str, np.ndarray | pa.Array] = {
        "episode": np.full(length, number, np.int32),
        "step": np.arange(length, dtype=np.int32),
        "time": columns.times,
    }
    if columns.actions is not None:
        values |= {f"action_{i}": column for i, column in enumerate(columns.actions.T)}
    if columns.rewards is not None:
        values["reward"] = columns.rewards
    values |= {extras.COLUMN + name: extras.column(columns.extras[name]) for name in sorted(kept_extras)}
    return pa.table(values)

"""A few labels written by hand (or by another tool) beside video that has none: a csv or parquet file.

Columns: `path` (the episode's name: a file's path below the dataset's folder), `time` in seconds or `frame`, and the
action in every other column: a column of words names choices, whole numbers are choices, other numbers are continuous.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from flexlam.core.action import ActionSpec
from flexlam.core.errors import DataError, did_you_mean
from flexlam.data.location import Location, read_bytes
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex

SUFFIXES = (".csv", ".parquet")
_NAMES, _TIMES, _FRAMES = ("path", "episode"), ("time",), ("frame", "step")


@dataclass(frozen=True, eq=False)
class ActionLabels:
    """Labelled transitions of a store: rows of a transition index, with their actions."""

    rows: np.ndarray
    """(N,) int64."""
    actions: np.ndarray
    """(N, A) float32."""
    spec: ActionSpec

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self) -> str:
        """How many labels there are, and of which choices: a misspelt word is a choice of its own."""
        if len(self.spec.num_choices) != 1 or self.spec.num_continuous:
            return f"{len(self)} labels of {self.spec.num_dims} numbers"
        chosen = self.actions[:, 0].astype(int)
        names = self.spec.names or tuple(map(str, range(self.spec.num_choices[0])))
        counts = ", ".join(f"{name} {(chosen == choice).sum()}" for choice, name in enumerate(names))
        return f"{len(self)} labels of {len(names)} choices ({counts}); guessing loses {np.log(len(names)):.3f}"


def read_labels(path: Location, store: FrameStore, index: TransitionIndex) -> ActionLabels:
    """The labels of a file, each at the transition whose first frame is nearest.

    Raises:
        DataError: no such file, columns are missing, an episode is unknown, a time lies outside its episode or where no
            transition begins, or there is but one action.
    """
    table = _read(path)
    name = _column(table, _NAMES, path)
    by_time = any(column in table.column_names for column in _TIMES)
    place = _column(table, _TIMES if by_time else (*_FRAMES, *_TIMES), path)
    columns = [column for column in table.column_names if column not in (*_NAMES, *_TIMES, *_FRAMES)]
    if not columns:
        raise DataError(
            f"{path} has no column of actions beside {', '.join(table.column_names)}. Add one, `action` say."
        )
    spec, actions = _actions(table.select(columns), path)
    names = table[name].to_pylist()
    places = table[place].to_numpy(zero_copy_only=False)
    bad = [number for number, value in enumerate(places.tolist()) if not _is_number(value)]
    if bad:
        raise DataError(
            f"{path}, {_line(path, bad[0])}: the column {place!r} must hold a number, and has {places[bad[0]]!r}."
        )
    rows = [
        _row(f"{path}, {_line(path, number)}", store, index, str(name_).strip(), float(place_), by_time)
        for number, (name_, place_) in enumerate(zip(names, places, strict=True))
    ]
    if len(set(rows)) < len(rows):
        seen: set[int] = set()
        twice = next(number for number, row in enumerate(rows) if row in seen or seen.add(row))  # type: ignore[func-returns-value]
        raise DataError(f"{path}, {_line(path, twice)} labels a transition that has a label already. Remove one.")
    return ActionLabels(np.array(rows, np.int64), actions, spec)


def _read(path: Location) -> pa.Table:
    if not path.is_file():
        raise DataError(f"There is no file of labels at {path}.")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is neither .csv nor .parquet; labels come in one of these.")
    try:
        source = pa.BufferReader(read_bytes(path))
        options = pyarrow.csv.ReadOptions(use_threads=False)
        table = pyarrow.csv.read_csv(source, options) if path.suffix.lower() == ".csv" else pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}). Give a table with a header line.") from error
    table = table.rename_columns([column.strip().lower() for column in table.column_names])
    if not len(table):
        raise DataError(f"{path} holds no label.")
    for column in table.column_names:
        if table[column].null_count:
            raise DataError(f"{path}: the column {column!r} is empty in some rows. Fill it, or remove those rows.")
    return table


def _line(path: Location, number: int) -> str:
    """Where a label stands: in a csv file the first line is the header."""
    return f"line {number + 2}" if path.suffix.lower() == ".csv" else f"row {number + 1}"


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False


def _column(table: pa.Table, names: tuple[str, ...], path: Location) -> str:
    found = [name for name in names if name in table.column_names]
    if not found:
        wanted = " or ".join(map(repr, names))
        raise DataError(f"{path} has no column {wanted}; its columns: {', '.join(table.column_names)}.")
    return found[0]


def _actions(table: pa.Table, path: Location) -> tuple[ActionSpec, np.ndarray]:
    """What an action is, and the actions (N, A)."""
    kinds = [field.type for field in table.schema]
    if any(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in kinds):
        if len(kinds) > 1:
            raise DataError(f"{path}: words can name the choices of a single column of actions only. Use numbers.")
        words = [str(word).strip() for word in table[0].to_pylist()]
        if not all(words):
            raise DataError(f"{path}: the column {table.column_names[0]!r} is empty in some rows. Fill or remove them.")
        choices = sorted(set(words))
        alike = {choice.casefold(): choice for choice in choices}
        for choice in choices:
            if (other := alike[choice.casefold()]) != choice:
                raise DataError(
                    f"{path}: {choice!r} and {other!r} would be two actions. Write the same one in the same way."
                )
        return _spec(path, len(choices), num_choices=(len(choices),), names=tuple(choices)), np.array(
            [[choices.index(word)] for word in words], np.float32
        )
    try:
        values = np.stack([table[column].to_numpy(zero_copy_only=False) for column in table.column_names], axis=1)
        actions = values.astype(np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: actions must be words or numbers ({error}).") from error
    if not np.isfinite(actions).all():
        raise DataError(f"{path}: an action is NaN or infinite. Mend or remove it.")
    if all(pa.types.is_integer(kind) for kind in kinds):
        if (actions < 0).any():
            raise DataError(f"{path}: whole numbers are choices, counted from 0; one of them is negative.")
        sizes = tuple(max(2, int(size) + 1) for size in actions.max(0))
        return _spec(path, len(np.unique(actions, axis=0)), num_choices=sizes), actions
    spec = _spec(
        path, len(np.unique(actions, axis=0)), num_continuous=actions.shape[1], names=tuple(table.column_names)
    )
    return spec, actions


def _spec(path: Location, num_different: int, **values: Any) -> ActionSpec:
    if num_different < 2:
        raise DataError(f"{path}: every label is the same action; there is nothing to tell apart. Label another, too.")
    return ActionSpec(**values)


def _row(where: str, store: FrameStore, index: TransitionIndex, name: str, place: float, by_time: bool) -> int:
    """The transition that a label is about."""
    try:
        episode = store.episodes.names.index(name)
    except ValueError:
        raise DataError(f"{where}: there is no episode {name!r}. {did_you_mean(name, store.episodes.names)}") from None
    mine = np.flatnonzero(index.episode == episode)
    if not len(mine):
        raise DataError(f"{where}: the episode {name!r} is too short for a transition.")
    steps = index.step[mine]
    if not by_time:
        found = mine[steps == place]
        if not len(found):
            raise DataError(
                f"{where}: no transition of {name!r} begins at frame {place:g}; they begin at {_range(steps)}."
            )
        return int(found[0])
    start = int(store.episodes.starts[episode])
    times = store.times[start + steps]
    nearest = int(np.abs(times - place).argmin())
    period = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    if abs(times[nearest] - place) > max(period, 1.0 / store.fps):
        raise DataError(
            f"{where}: no transition of {name!r} begins near {place:g} s; they begin at {times[0]:g} to {times[-1]:g}."
        )
    return int(mine[nearest])


def _range(steps: np.ndarray) -> str:
    return f"{steps.min()} to {steps.max()}"

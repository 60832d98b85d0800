"""Extras of a frame store: exact states beside the frames, one float32 vector a frame under each name.

A store keeps an extra that all its episodes have, at one width. One that some episode lacks, or has at another width,
is left out of the store and named in the report; no episode is lost for it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

COLUMN = "extras."
"""Stands before the name of an extra in the columns of an index."""


def as_vectors(extras: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Extras (T, ...) of any numbers as (T, n) float32, by name in order."""
    return {
        name: np.ascontiguousarray(values, np.float32).reshape(len(values), -1)
        for name, values in sorted(extras.items())
    }


def digests(extras: Mapping[str, np.ndarray]) -> dict[str, tuple[int, str]]:
    """Width and hash of each extra (T, n) of an episode."""
    return {
        name: (values.shape[1], hashlib.sha256(np.ascontiguousarray(values, np.float32).tobytes()).hexdigest())
        for name, values in extras.items()
    }


def with_extras(digest: str, extras: Mapping[str, Sequence[int | str]]) -> str:
    """Hash of an episode with the widths and hashes of its extras; without extras it stays as it was."""
    if not extras:
        return digest
    lines = [digest, *(f"{name} {width} {found}" for name, (width, found) in sorted(extras.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def common(episodes: Sequence[tuple[str, Mapping[str, int]]]) -> tuple[dict[str, int], dict[str, str]]:
    """Extras that every episode (name, widths of its extras) has at one width; and why the others are left out."""
    kept: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for name in sorted({name for _, widths in episodes for name in widths}):
        first = next((episode, widths[name]) for episode, widths in episodes if name in widths)
        other = next((pair for pair in episodes if pair[1].get(name) != first[1]), None)
        if other is None:
            kept[name] = first[1]
        else:
            width = other[1].get(name)
            has = "lacks it" if width is None else f"has {width}"
            reasons[name] = f"{first[0]} has {first[1]} numbers a frame, {other[0]} {has}"
    return kept, reasons


def column(values: np.ndarray) -> pa.Array:
    """The Arrow column of an extra (T, n)."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


class LazyExtras(Mapping[str, np.ndarray]):
    """Extras by name; each is read when it is first asked for, and kept."""

    def __init__(self, names: Sequence[str], read: Callable[[str], np.ndarray]) -> None:
        self._names, self._read = tuple(names), read
        self._values: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

"""Look into a dataset or a frame store, and find what would trouble training."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.episodes import ActionTiming, EpisodeInfo
from flexlam.data.guarded import Limits, guarded
from flexlam.data.location import Location, is_local, located
from flexlam.data.mixture import is_store, open_frames
from flexlam.data.readers import open_dataset
from flexlam.data.source import SourceConfig
from flexlam.data.splits import SMALLEST_STRATUM
from flexlam.data.store import FrameStore
from flexlam.data.watch import Seen, watch

FRAMES_AT_ONCE = 256
_NUM_NAMED = 3  # unreadable files that info names
_TIMING = {
    "follows": "an action follows its frame: it was executed on seeing it",
    "precedes": "an action precedes its frame, to which it led; it is moved one frame back",
}


@dataclass(frozen=True)
class CheckRow:
    """One finding; an error makes an episode unusable, a warning makes it doubtful."""

    severity: Literal["error", "warning"]
    episode: str
    """Name of the episode; empty where the finding is about the whole dataset."""
    what: str


@dataclass(frozen=True)
class CheckReport:
    """Everything that was found."""

    path: str
    num_episodes: int
    num_frames: int
    rows: tuple[CheckRow, ...]
    strict: bool = False

    @property
    def ok(self) -> bool:
        """No errors; when strict, no warnings either."""
        return not any(self.strict or row.severity == "error" for row in self.rows)

    def table(self) -> str:
        """As text for people."""
        head = f"{self.path}: {self.num_episodes} episodes, {self.num_frames:,} frames read"
        counts = Counter(row.severity for row in self.rows)
        if not self.rows:
            return f"{head}; nothing to complain about."
        width = max(len(row.episode) for row in self.rows)
        lines = [f"  {row.severity:<8} {row.episode:<{width}}  {row.what}" for row in self.rows]
        return "\n".join([f"{head}; {counts['error']} error(s), {counts['warning']} warning(s).", *lines])

    def to_json(self) -> str:
        """As JSON for programs."""
        return json.dumps(asdict(self) | {"ok": self.ok}, indent=2)


def describe(place: str | Location, source: SourceConfig | None = None) -> dict[str, Any]:
    """What a dataset or a frame store holds, without decoding more than a frame; plain JSON values.

    Raises:
        DataError: it is neither, or is damaged.
        ConfigError: the dataset has no such camera.
    """
    path = located(place)
    if is_store(path):
        store = open_frames(path)
        lengths, tasks = store.episodes.lengths.tolist(), list(store.episodes.tasks)
        about = store.about()
        num_frames: int | None = store.num_frames
        timing: ActionTiming | None = None
        broken: list[EpisodeInfo] = []
        fps, shape, spec = store.fps, store.frame_shape, store.action_spec
        seconds: float | None = sum(member.num_frames / member.fps for member in store.members)
    else:
        reader = open_dataset(path, source)
        episodes, info = reader.episodes(), reader.info
        lengths, tasks = [episode.length for episode in episodes], [episode.task for episode in episodes]
        about = {"format": info.format, "cameras": list(info.cameras)}
        num_frames, fps, shape, spec = info.num_frames, info.fps, info.frame_shape, info.action_spec
        timing = info.action_timing
        broken = [episode for episode in episodes if episode.problem]
        seconds = None if num_frames is None else num_frames / fps
    known = [length for length in lengths if length is not None]
    return about | {
        "path": str(path),
        "num_episodes": len(lengths),
        "num_frames": num_frames,
        "seconds": seconds,
        "fps": fps,
        "frame_shape": list(shape),
        "episode_length": {"min": min(known), "mean": sum(known) / len(known), "max": max(known)} if known else None,
        "action_spec": None if spec is None else spec.model_dump(mode="json"),
        **({} if spec is None or timing is None else {"action_timing": _TIMING[timing]}),
        "tasks": dict(Counter(tasks)),
        "num_bytes": _num_bytes(path),
        **({"unreadable": _first_of(broken)} if broken else {}),
    }


def _first_of(broken: list[EpisodeInfo]) -> str:
    """How many, and the first few."""
    named = [f"{episode.name} ({episode.problem})" for episode in broken[:_NUM_NAMED]]
    more = f" and {len(broken) - len(named)} more" if len(broken) > len(named) else ""
    return f"{len(broken)}, which convert leaves out: {'; '.join(named)}{more}. flexlam data check names them all"


def as_lines(description: dict[str, Any]) -> str:
    """What `describe` returns, as text for people."""
    width = max(len(key) for key in description)
    shown = description | {"frame_shape": " x ".join(map(str, description["frame_shape"]))}
    return "\n".join(f"{key.replace('_', ' '):<{width}}  {_plain(value)}" for key, value in shown.items())


def check(
    place: str | Location,
    strict: bool = False,
    source: SourceConfig | None = None,
    limits: Limits | None = None,
    num_workers: int = 1,
    progress: Callable[[int], object] = lambda count: None,
) -> CheckReport:
    """Read a whole dataset or frame store and list what is wrong with it; `strict` lets warnings count.

    A dataset is decoded in child processes within limits; `progress` is called with numbers of decoded frames.

    Raises:
        DataError: it cannot be opened at all.
        ConfigError: the dataset has no such camera.
    """
    path = located(place)
    if is_store(path):
        return _check_store(path, strict)
    reader = open_dataset(path, source)
    episodes = reader.episodes()
    seen: dict[int, Seen | DataError] = {}
    work = partial(watch, reader)
    for outcome in guarded(work, episodes, limits or Limits(), num_workers, progress, isolated=is_local(path)):
        seen[outcome.number] = outcome.error or outcome.result
    rows = list(_check_episodes(episodes, seen)) + list(_check_whole(seen))
    num_frames = sum(found.num_frames for found in seen.values() if isinstance(found, Seen))
    return CheckReport(str(path), len(episodes), num_frames, tuple(rows), strict)


def _check_episodes(episodes: list[EpisodeInfo], seen: dict[int, Seen | DataError]) -> Iterator[CheckRow]:
    """What is wrong with each episode by itself, and which are copies."""
    first: dict[str, str] = {}
    for number, episode in enumerate(episodes):
        found = seen[number]
        if isinstance(found, DataError):
            yield CheckRow("error", episode.name, f"cannot be read: {found}")
            continue
        for what in found.errors:
            yield CheckRow("error", episode.name, what)
        for what in found.warnings:
            yield CheckRow("warning", episode.name, what)
        if found.num_frames and found.digest in first:
            yield CheckRow("warning", episode.name, f"has the very frames of {first[found.digest]}")
        first.setdefault(found.digest, episode.name)


def _check_whole(seen: dict[int, Seen | DataError]) -> Iterator[CheckRow]:
    """What is wrong with the dataset as a whole."""
    usable = [found for found in seen.values() if isinstance(found, Seen) and found.num_frames > 1]
    shapes = Counter(f"{found.shape[0]} x {found.shape[1]}" for found in usable if found.shape)
    if len(shapes) > 1:
        yield CheckRow("warning", "", f"frames have several sizes: {_counted(shapes)} episodes; they will be resized")
    rates = Counter(f"{found.fps:.3g}" for found in usable if found.fps)
    if len(rates) > 1:
        what = f"frame rates differ: {_counted(rates)} episodes; give gaps in seconds (--pairs.gap-seconds)"
        yield CheckRow("warning", "", what)
    if len(usable) < SMALLEST_STRATUM:
        what = f"{len(usable)} usable episode(s): training, validation and test want {SMALLEST_STRATUM}"
        yield CheckRow("warning", "", f"{what}; cut long recordings into several")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} in {count}" for what, count in counts.most_common(5))


def _check_store(path: Location, strict: bool) -> CheckReport:
    store = open_frames(path)
    rows: list[CheckRow] = []
    try:
        store.verify()
    except DataError as error:
        rows.append(CheckRow("error", "", str(error)))
        return CheckReport(str(path), store.num_episodes, 0, tuple(rows), strict)
    if len(store.rates) > 1:
        rates = ", ".join(f"{rate:.3g}" for rate in store.rates)
        what = f"frame rates differ: {rates} a second; give gaps in seconds (--pairs.gap-seconds)"
        rows.append(CheckRow("warning", "", what))
    table = store.episodes
    for name, start, length in zip(table.names, table.starts, table.lengths, strict=True):
        if store.actions is not None and store.action_spec is not None:
            try:
                store.action_spec.check(store.actions[start : start + length], name)
            except DataError as error:
                rows.append(CheckRow("error", name, str(error)))
        if _constant(store, int(start), int(length)):
            rows.append(CheckRow("warning", name, "every frame is the same"))
    return CheckReport(str(path), store.num_episodes, store.num_frames, tuple(rows), strict)


def _constant(store: FrameStore, start: int, length: int) -> bool:
    first = store.frames(np.array([start]))
    for begin in range(start, start + length, FRAMES_AT_ONCE):
        if (store.frames(np.arange(begin, min(begin + FRAMES_AT_ONCE, start + length))) != first).any():
            return False
    return True


def _num_bytes(path: Location) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)

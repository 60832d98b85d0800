"""Build a frame store from any reader: streaming, in bounded memory, whole or not at all, and resumable after a kill.

Episodes are prepared apart (data/parts.py), by this process or by several guarded ones, and appended in their order. A
journal says how far that has come.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.errors import DataError, OutputError
from flexlam.core.files import (
    atomic_folder,
    check_output_folder,
    content_hash,
    explain_write_errors,
    replace_folder,
    try_lock,
    write_text,
)
from flexlam.data.episodes import EpisodeInfo, Reader
from flexlam.data.extras import common, digests, with_extras
from flexlam.data.guarded import Limits, Outcome, guarded
from flexlam.data.location import is_local
from flexlam.data.parts import Part, PartColumns, StoreConfig, prepare
from flexlam.data.shards import ShardWriter
from flexlam.data.store import EPISODES, FORMAT, FORMAT_VERSION, MANIFEST, Manifest, hash_of_episodes
from flexlam.data.store_index import write_index

_PARTS, _JOURNAL, _PLAN = "parts", "journal.jsonl", "plan.json"


@dataclass(frozen=True)
class Skipped:
    """An episode that was left out."""

    episode: int
    """Its index in the dataset."""
    name: str
    reason: str


@dataclass(frozen=True)
class BuildReport:
    """What became of a dataset."""

    num_frames: int
    num_episodes: int
    num_bytes: int
    content_hash: str
    skipped: tuple[Skipped, ...]
    lost_extras: Mapping[str, str] = field(default_factory=dict)
    """Extras that are not kept, and why."""


def build_store(
    reader: Reader,
    path: Path,
    config: StoreConfig | None = None,
    progress: Callable[[int], object] | None = None,
    announce: Callable[[str], object] = print,
    overwrite: bool = False,
) -> BuildReport:
    """Write the store of a dataset to `path`, in this process; `progress` is called with numbers of decoded frames.

    For datasets that can be trusted: `convert` guards against files that bring a decoder down. Episodes that cannot be
    decoded, do not fit, or have fewer than two frames are left out and listed.

    Raises:
        DataError: no episode can be used.
        OutputError: the folder exists (without `overwrite`), cannot be written, or the disk is full.
    """
    config = config or StoreConfig()
    check_output_folder(path, overwrite)
    _announce(reader, path, config, announce)
    with atomic_folder(path) as folder, _Builder(reader, folder, config) as builder:
        tell = progress or (lambda _: None)
        for number, episode in enumerate(builder.waiting()):
            try:
                builder.prepare(episode, tell)
                builder.add(Outcome(number))
            except DataError as error:
                builder.add(Outcome(number, error=error))
        return builder.finish()


def convert(
    reader: Reader,
    path: Path,
    config: StoreConfig,
    limits: Limits,
    num_workers: int,
    progress: Callable[[int], object],
    announce: Callable[[str], object],
    overwrite: bool = False,
) -> BuildReport:
    """`build_store` for files from anywhere: several child processes, each within limits, and resumable.

    What an interrupted run has done lies in a hidden folder beside `path`; the same call goes on from there. The store
    is the same whatever the number of workers and of interruptions.

    Raises:
        DataError: no episode can be used.
        OutputError: as `build_store`; or another process is building the same store.
    """
    check_output_folder(path, overwrite)
    _announce(reader, path, config, announce)
    folder = path.resolve().with_name(f".{path.resolve().name}.building")
    with explain_write_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
    with explain_write_errors(path), try_lock(folder / "lock", patience=2.0) as mine:
        if not mine:
            raise OutputError(f"Another process is building {path}. Wait for it, or choose another --out folder.")
        try:
            with _Builder(reader, folder, config, resume=True) as builder:
                waiting = builder.waiting()
                if builder.begun_anew:
                    announce("What an interruption with other data or settings had left was removed.")
                if builder.num_done:
                    announce(f"Going on after {builder.num_done} of {len(reader.episodes())} episodes.")
                progress(sum(e.length or 0 for e in reader.episodes()) - sum(e.length or 0 for e in waiting))
                isolated = is_local(getattr(reader, "path", path))
                for outcome in guarded(builder.prepare, waiting, limits, num_workers, progress, isolated):
                    builder.add(outcome)
                report = builder.finish()
        except DataError:
            shutil.rmtree(folder)  # nothing in it can be used
            raise
        except BaseException:
            _tidy(folder)
            if folder.exists():
                announce(f"What is done is kept in {folder}; the same command goes on from there.")
            raise
        (folder / "lock").unlink()
        replace_folder(folder, path.resolve())
    return report


class _Builder:
    """A store on its way, in a folder of its own."""

    def __init__(self, reader: Reader, folder: Path, config: StoreConfig, resume: bool = False) -> None:
        self._reader, self._folder, self._config = reader, folder, config
        self._parts = folder / _PARTS
        self._episodes = reader.episodes()
        self._begin(resume)
        entries = self._read_journal()
        self._kept = [entry for entry in entries if "reason" not in entry]
        self._skipped = [Skipped(e["index"], e["name"], e["reason"]) for e in entries if "reason" in e]
        self.num_done = len(entries)
        self._come: dict[int, Outcome] = {}
        self._waiting: list[EpisodeInfo] = []
        self._shards = ShardWriter(folder, config.codec, config.shard_bytes, self._ends())
        self._journal = (folder / _JOURNAL).open("a")

    def __enter__(self) -> "_Builder":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError), self._shards:  # a full disk has been told already
            self._journal.close()

    def waiting(self) -> list[EpisodeInfo]:
        """Episodes that are not prepared yet; the numbers of outcomes count these."""
        rest = self._episodes[self.num_done :]
        prepared = {episode.index for episode in rest if self._part(episode).is_whole()}
        self._waiting = [episode for episode in rest if episode.index not in prepared]
        self._come = {index: Outcome(-1) for index in prepared}
        return self._waiting

    def prepare(self, episode: EpisodeInfo, tell: Callable[[int], object]) -> None:
        """Decode an episode into its part.

        Raises:
            DataError: it cannot be used.
        """
        prepare(self._reader, episode, self._part(episode), self._config, tell)

    def add(self, outcome: Outcome) -> None:
        """Take in what became of an episode; append every episode whose turn has come."""
        self._come[self._waiting[outcome.number].index] = outcome
        while self.num_done < len(self._episodes):
            episode = self._episodes[self.num_done]
            if episode.index not in self._come:
                return
            self._append(episode, self._come.pop(episode.index))

    def finish(self) -> BuildReport:
        """Write the index and the manifest, and remove the scaffold.

        Raises:
            DataError: no episode can be used.
        """
        while self.num_done < len(self._episodes):  # prepared before the last interruption
            episode = self._episodes[self.num_done]
            self._append(episode, self._come.pop(episode.index))
        self._journal.close()
        if not self._kept:
            first = self._skipped[0].reason if self._skipped else "the dataset lists none"
            raise DataError(
                f"None of the {len(self._skipped)} episodes can be used. The first: {first} "
                "Look into the dataset with: flexlam data check"
            )
        sizes = self._shards.finish()
        extras, lost = self._common_extras()
        parts = (Part(self._parts, entry["index"]).columns for entry in self._kept)
        write_index(self._folder, (PartColumns.load(part).columns for part in parts), extras)
        self._write_episodes()
        info = self._reader.info
        names = [with_extras(entry["digest"], {name: entry["extras"][name] for name in extras}) for entry in self._kept]
        num_frames = sum(entry["length"] for entry in self._kept)
        manifest = Manifest(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            content_hash=hash_of_episodes(names),
            num_frames=num_frames,
            num_episodes=len(self._kept),
            frame_shape=(*(self._config.frame_size or info.frame_shape[:2]), info.frame_shape[2]),
            fps=info.fps if self._config.frame_gap is None else 1 / self._config.frame_gap,
            codec=self._config.codec,
            action_spec=info.action_spec,
            has_rewards=self._has_rewards or False,
            shards=sizes,
            fit=self._config.fit,
            extras=extras,
            source={"format": info.format, "name": Path(str(getattr(self._reader, "path", ""))).name},
        )
        shutil.rmtree(self._parts)
        for name in (_JOURNAL, _PLAN):
            (self._folder / name).unlink()
        write_text(self._folder / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
        num_bytes = sum(file.stat().st_size for file in self._folder.iterdir())
        return BuildReport(num_frames, len(self._kept), num_bytes, manifest.content_hash, tuple(self._skipped), lost)

    def _begin(self, resume: bool) -> None:
        """A fresh folder, unless what is there was begun for the same dataset and settings."""
        episodes = [(episode.name, episode.task, episode.length) for episode in self._episodes]
        about = [repr(self._reader.info), str(getattr(self._reader, "path", "")), episodes]
        plan = content_hash(json.dumps([about, self._config.model_dump(mode="json")]).encode())
        file = self._folder / _PLAN
        self.begun_anew = resume and file.is_file() and file.read_text() != plan
        if not (resume and file.is_file() and file.read_text() == plan):
            for left in self._folder.iterdir():
                if left.name != "lock":
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            self._parts.mkdir()
            write_text(file, plan)

    def _read_journal(self) -> list[dict[str, Any]]:
        """Entries of the episodes that are done; a line that a kill cut short is dropped."""
        file = self._folder / _JOURNAL
        whole, entries = b"", []
        for line in file.read_bytes().splitlines(keepends=True) if file.is_file() else []:
            with contextlib.suppress(ValueError):
                if line.endswith(b"\n"):
                    entries.append(json.loads(line))
                    whole += line
                    continue
            break
        file.write_bytes(whole)
        return entries

    def _ends(self) -> list[np.ndarray]:
        """Where frames end in each shard, after the journal's episodes."""
        shards: list[list[np.ndarray]] = []
        for entry in self._kept:
            ends, start, base = PartColumns.load(self._parts / f"{entry['index']:08d}.npz").ends, 0, 0
            for shard, count in entry["stretches"]:
                if shard == len(shards):
                    shards.append([np.zeros(1, np.int64)])
                shards[shard].append(ends[start : start + count] - base + shards[shard][-1][-1])
                start += count
                base = int(ends[start - 1])
        return [np.concatenate(parts)[1:] for parts in shards]

    def _part(self, episode: EpisodeInfo) -> Part:
        return Part(self._parts, episode.index)

    def _append(self, episode: EpisodeInfo, outcome: Outcome) -> None:
        part, reason = self._part(episode), None if outcome.error is None else str(outcome.error)
        entry: dict[str, Any] = {"index": episode.index, "name": episode.name}
        if reason is None:
            found = PartColumns.load(part.columns)
            has_rewards = found.columns.rewards is not None
            if self._has_rewards not in (None, has_rewards):
                reason = f"{episode.name} differs from earlier episodes in having rewards."
            else:
                stretches = self._shards.append(part.frames, found.ends)
                self._shards.flush()
                entry |= {"task": episode.task, "length": len(found.ends), "digest": found.digest}
                entry |= {"stretches": stretches, "has_rewards": has_rewards, "extras": digests(found.columns.extras)}
                self._kept.append(entry)
        if reason is not None:
            entry["reason"] = reason
            part.columns.unlink(missing_ok=True)
            self._skipped.append(Skipped(episode.index, episode.name, reason))
        self._journal.write(json.dumps(entry) + "\n")
        self._journal.flush()
        part.frames.unlink(missing_ok=True)
        self.num_done += 1

    @property
    def _has_rewards(self) -> bool | None:
        return self._kept[0]["has_rewards"] if self._kept else None

    def _common_extras(self) -> tuple[dict[str, int], dict[str, str]]:
        """Widths of the extras that the store keeps, and why others are not kept."""
        # A journal that an earlier version began knows of no extras.
        told = [(entry["name"], entry.get("extras", {})) for entry in self._kept]
        return common([(name, {key: width for key, (width, _) in extras.items()}) for name, extras in told])

    def _write_episodes(self) -> None:
        starts = np.cumsum([0, *(entry["length"] for entry in self._kept)])
        rows = [
            {
                "index": number,
                "name": entry["name"],
                "task": entry["task"],
                "source_index": entry["index"],
                "start": int(start),
                "length": entry["length"],
            }
            for number, (entry, start) in enumerate(zip(self._kept, starts, strict=False))
        ]
        pq.write_table(pa.Table.from_pylist(rows), self._folder / EPISODES)


def _tidy(folder: Path) -> None:
    """Remove what an interruption left half-done, and the folder if that was all."""
    for file in (folder / _PARTS).glob("*"):
        if file.suffix == ".partial" or not file.with_suffix(".npz").exists():
            file.unlink()
    journal = folder / _JOURNAL
    if not any((folder / _PARTS).glob("*")) and not (journal.exists() and journal.stat().st_size):
        shutil.rmtree(folder)


def _announce(reader: Reader, path: Path, config: StoreConfig, announce: Callable[[str], object]) -> None:
    info = reader.info
    height, width = config.frame_size or info.frame_shape[:2]
    frame_bytes = height * width * info.frame_shape[2]
    most = "at most " if config.codec != "raw" else ""
    num_frames = info.num_frames
    if num_frames is not None and config.frame_gap is not None:
        num_frames, most = (
            min(num_frames, round(num_frames / info.fps / config.frame_gap) + info.num_episodes),
            "about ",
        )
    if num_frames is None:
        announce(f"Writing frames to {path}: {most}{frame_bytes:,} bytes each; their number is not known yet.")
        return
    total = num_frames * frame_bytes
    announce(f"Writing {num_frames:,} frames of {height} x {width} to {path}: {most}{total / 1e6:,.1f} MB.")
    free = shutil.disk_usage(_existing(path)).free
    if config.codec == "raw" and total > free:
        raise OutputError(
            f"{path} needs {total / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free. "
            "Free some space, choose another --out folder, a smaller frame_size or the codec webp."
        )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)

"""A study is a small graph of steps, each computed once: a step's folder is named by its settings and its parents.

A finished step is never computed again; changed settings name other folders, of that step and of what depends on it.
Several processes, also on several machines that share the folder, may work on one study: a step is claimed by a lock.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from flexlam.core.errors import CheckpointError
from flexlam.core.files import content_hash, explain_write_errors, try_lock, write_text
from flexlam.core.machine import describe_machine, single_thread
from flexlam.core.parallel import run_jobs
from flexlam.core.progress import progress, silence

_WAIT = 0.5  # seconds between two looks for a step that nobody works on


@dataclass(frozen=True)
class Step:
    """Work that follows from its settings and its parents alone."""

    kind: str
    """What it is, and the first half of its folder's name."""
    work: Callable[["Step", Path, list[Path]], None] = field(compare=False)
    """Does it: the step, its folder, and its parents' folders. Continues what an interrupted run left there."""
    settings: dict[str, Any] = field(compare=False)
    """JSON values; everything that changes the outcome."""
    parents: tuple["Step", ...] = field(default=(), compare=False)
    about: dict[str, Any] = field(default_factory=dict, compare=False)
    """What it is called in tables (method, seed ...); does not name the folder."""

    @cached_property
    def name(self) -> str:
        """Name of its folder."""
        identity = [self.kind, self.settings, [parent.name for parent in self.parents]]
        return f"{self.kind}-{content_hash(json.dumps(identity, sort_keys=True).encode())}"


class Workspace:
    """The folder of a study's steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def folder(self, step: Step) -> Path:
        """Where a step lies, or will lie."""
        return self.path / step.name

    def finished(self, step: Step) -> bool:
        """Whether a step is done."""
        return (self.folder(step) / "done.json").exists()

    def about(self, step: Step) -> dict[str, Any]:
        """Settings, CPU-seconds (its own, and those of its parents by name) and machine of a finished step.

        Raises:
            CheckpointError: it is not finished, or its record is damaged.
        """
        return _read(self.folder(step) / "done.json")

    def rows(self, step: Step) -> list[dict[str, Any]]:
        """What a finished step has measured.

        Raises:
            CheckpointError: it is not finished, or damaged.
        """
        rows: list[dict[str, Any]] = _read(self.folder(step) / "rows.json")
        return rows

    def compute(self, wanted: Sequence[Step], num_workers: int) -> None:
        """Compute steps and whatever they need, by processes of one thread each.

        Raises:
            OutputError: the disk is full or the folder cannot be written; whatever a step raises. What is done stays.
        """
        every = _in_order(wanted, lambda step: False)
        order = [step for step in _in_order(wanted, self.finished) if not self.finished(step)]
        if not order:
            return
        before = len(every) - len(order)
        with explain_write_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

        def work(worker: int) -> None:
            shown_here = progress(len(every), "Study", "step", before) if worker == 0 else nullcontext()
            with shown_here as bar:
                shown = 0
                while waiting := [step for step in order if not self.finished(step)]:
                    if not any(self._try(step) for step in waiting):
                        time.sleep(_WAIT)
                    done = sum(map(self.finished, order))
                    if bar is not None:
                        bar.update(done - shown)
                    shown = done

        workers = min(num_workers, len(order))
        run_jobs(work, workers, workers)

    def merge(self, other: Path, steps: Sequence[Step]) -> int:
        """Take over finished steps that lie in another workspace; returns how many."""
        found = 0
        for step in steps:
            source = other / step.name
            if not self.finished(step) and (source / "done.json").exists():
                with explain_write_errors(self.folder(step)):
                    shutil.copytree(source, self.folder(step), dirs_exist_ok=True)
                found += 1
        return found

    def _seconds(self, step: Step) -> float:
        seconds: float = self.about(step)["cpu_seconds"]
        return seconds

    def _try(self, step: Step) -> bool:
        """Compute a step if its parents are there and nobody else is at it; returns whether anything was done."""
        if not all(map(self.finished, step.parents)):
            return False
        folder = self.folder(step)
        with explain_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with try_lock(folder / "lock") as mine:
            if not mine or self.finished(step):
                return False
            began = time.process_time()
            with silence(), single_thread():  # one thread, so that the number of workers changes no figure
                step.work(step, folder, [self.folder(parent) for parent in step.parents])
            seconds = round(time.process_time() - began, 2)
            record = {
                **{"kind": step.kind, "about": step.about, "settings": step.settings},
                **{"parents": {parent.name: self._seconds(parent) for parent in step.parents}},
                **{"cpu_seconds": seconds, "machine": describe_machine()},
            }
            write_text(folder / "done.json", json.dumps(record, indent=2) + "\n")
        return True


def write_rows(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """What a step has measured, atomically.

    Raises:
        OutputError: the disk is full.
    """
    write_text(folder / "rows.json", json.dumps(list(rows)) + "\n")


def _in_order(wanted: Sequence[Step], finished: Callable[[Step], bool]) -> list[Step]:
    """Steps and what they need, parents first, each once; what only finished steps need is left out."""
    order: dict[str, Step] = {}

    def visit(step: Step) -> None:
        if step.name in order:
            return
        if not finished(step):
            for parent in step.parents:
                visit(parent)
        order[step.name] = step

    for step in wanted:
        visit(step)
    return list(order.values())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Remove its folder to compute that step again."
        ) from error

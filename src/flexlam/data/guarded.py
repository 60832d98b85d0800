"""Work on files that may be damaged, in processes that may crash, hang or ask for too much memory without harm.

Decoders are C code over bytes from anywhere. What they do to a child process is, here, one failed item.
"""

import contextlib
import ctypes
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import DataError, FlexlamError
from flexlam.core.parallel import signals_held

Tell = Callable[[Any], object]
Work = Callable[[Any, Tell], Any]

if sys.platform == "linux":
    import resource

_PR_SET_PDEATHSIG = 1


class Limits(Config):
    """What decoding may take."""

    seconds: float = Field(default=60.0, gt=0)
    """Longest silence: without a frame for so long a decoder has hung."""
    gigabytes: float = Field(default=4.0, gt=0)
    """Memory of a decoding process beyond what it starts with (Linux)."""


@dataclass(frozen=True)
class Outcome:
    """What became of an item."""

    number: int
    result: Any = None
    error: DataError | None = None
    """Its own error, or that of the process that worked on it."""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    item: int | None = None
    heard: float = field(default_factory=time.monotonic)


def guarded(
    work: Work,
    items: Sequence[Any],
    limits: Limits,
    num_workers: int = 1,
    on_told: Callable[[Any], object] = lambda told: None,
    isolated: bool = True,
) -> Iterator[Outcome]:
    """`work(item, tell)` of every item in child processes; outcomes as they come, in no order.

    What `work` tells (frames counted, say) is handed to `on_told` here, and shows that it is alive. A DataError is its
    item's outcome, and so is any error that is neither ours nor the operating system's: libraries do not foresee every
    damage. A child that crashes, hangs or runs out of memory fails its item and is replaced. Where the system
    cannot fork, or with isolated=False (connections to remote files do not survive a fork), the work is done in this
    process, unguarded.

    Raises:
        FlexlamError, OSError: what has nothing to do with the item, such as a full disk.
    """
    if not isolated or sys.platform != "linux":
        yield from _unguarded(work, items, on_told)
        return
    waiting = list(range(len(items)))[::-1]
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.item is not None for worker in workers):
            while waiting and len(workers) < num_workers:
                workers.append(_start(work, items, limits))
            for worker in workers:
                if worker.item is None and waiting:
                    worker.item, worker.heard = waiting.pop(), time.monotonic()
                    with contextlib.suppress(OSError):  # one that has died is found below
                        worker.pipe.send(worker.item)
            busy = [worker for worker in workers if worker.item is not None]
            ready = wait([worker.pipe for worker in busy], timeout=min(limits.seconds, 1.0))
            for worker in busy:
                outcome = _hear(worker, on_told) if worker.pipe in ready else _overdue(worker, limits)
                if outcome is None:
                    continue
                worker.item = None
                if not worker.process.is_alive():
                    _stop(worker)
                    workers.remove(worker)
                yield outcome
    finally:
        for worker in workers:
            _stop(worker)


def _unguarded(work: Work, items: Sequence[Any], on_told: Callable[[Any], object]) -> Iterator[Outcome]:
    for number, item in enumerate(items):
        try:
            yield Outcome(number, work(item, on_told))
        except Exception as error:
            yield Outcome(number, error=_of_item(error))


def _start(work: Work, items: Sequence[Any], limits: Limits) -> _Worker:
    context = multiprocessing.get_context("fork")  # the child holds the reader already
    ours, theirs = context.Pipe()
    with signals_held() as mask:
        process = context.Process(
            target=_serve, args=(work, items, limits, theirs, ours, os.getpid(), mask), daemon=True
        )
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(
    work: Work,
    items: Sequence[Any],
    limits: Limits,
    pipe: Connection,
    parents: Connection,
    parent: int,
    mask: set[signal.Signals],
) -> None:
    """The child: items by their numbers, until the pipe closes or the parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a lock that the parent held is free at once
    if os.getppid() != parent:
        return
    faulthandler.disable()  # its crashes are told in one line
    parents.close()  # or this copy would keep it open, and its end would never be seen
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    pages = int(Path("/proc/self/statm").read_text().split()[5])  # private memory that can be written to
    most = pages * resource.getpagesize() + int(limits.gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            number = pipe.recv()
            try:
                message = ("done", work(items[number], lambda told: pipe.send_bytes(pickle.dumps(("told", told)))))
            except BaseException as error:
                message = ("failed", error)
            pipe.send_bytes(pickle.dumps(message))


def _hear(worker: _Worker, on_told: Callable[[Any], object]) -> Outcome | None:
    """The next message of a worker; None if its item is not done."""
    assert worker.item is not None
    try:
        kind, content = pickle.loads(worker.pipe.recv_bytes())
    except (EOFError, OSError):
        worker.process.join()
        return Outcome(worker.item, error=DataError(_how_it_died(worker.process.exitcode)))
    worker.heard = time.monotonic()
    if kind == "told":
        on_told(content)
        return None
    if kind == "done":
        return Outcome(worker.item, content)
    return Outcome(worker.item, error=_of_item(content))


def _of_item(error: BaseException) -> DataError:
    """The error as one of the item; others are raised."""
    if isinstance(error, DataError):
        return error
    if isinstance(error, MemoryError):
        return DataError("It asks for more memory than decoding may take; its header may be damaged.")
    if isinstance(error, FlexlamError | OSError) or not isinstance(error, Exception):
        raise error
    return DataError(f"It cannot be read ({type(error).__name__}: {error}); it is probably damaged.")


def _overdue(worker: _Worker, limits: Limits) -> Outcome | None:
    """A worker that has been silent for too long is ended."""
    if time.monotonic() - worker.heard < limits.seconds:
        return None
    assert worker.item is not None
    worker.process.kill()
    worker.process.join()
    return Outcome(worker.item, error=DataError(f"Decoding hung: nothing came for {limits.seconds:g} seconds."))


def _how_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        why = "; memory may have run out" if name == "SIGKILL" else ""
        return f"The decoder crashed ({name}{why}); the file is damaged or hostile."
    return f"The decoder ended with code {code}; the file is damaged or hostile."


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.process.close()

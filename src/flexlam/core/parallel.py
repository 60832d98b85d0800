"""Jobs done by copies of this process: they hold all that it holds, so nothing has to be sent to them."""

import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from flexlam.core.errors import FlexlamError

Result = TypeVar("Result")

_STOPPED = 130  # the code of a process that was told to stop, as shells give it


def run_jobs(
    work: Callable[[int], Result],
    num_jobs: int,
    num_workers: int,
    on_done: Callable[[], object] = lambda: None,
    apart: bool = False,
) -> list[Result]:
    """`work(0)` .. `work(num_jobs − 1)`, begun in that order by forked processes of one thread each; what they return.

    In this process, one after the other, where there is only one worker, the system cannot fork, or a GPU is in use (a
    copy could not use it). Results travel pickled. `on_done` is called here after each job. `apart` forks even for
    one worker, so that what its libraries start stays out of this process: later copies would lack OpenGL's threads.

    Raises:
        FlexlamError: a worker died without a word; whatever a worker raises is raised here.
    """
    import torch

    num_workers = min(num_workers, num_jobs)
    if not num_jobs or (num_workers <= 1 and not apart) or sys.platform != "linux" or torch.cuda.is_initialized():
        results = []
        for number in range(num_jobs):
            results.append(work(number))
            on_done()
        return results
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    workers: dict[Any, Any] = {}  # pipe -> process
    try:
        for _ in range(num_workers):
            ours, theirs = context.Pipe(duplex=False)
            with signals_held() as mask:
                process = context.Process(target=_work, args=(work, num_jobs, counter, theirs, mask))
                process.start()
            theirs.close()
            workers[ours] = process
        return _gather(workers, num_jobs, on_done)
    except BaseException:
        for process in workers.values():
            process.terminate()
        raise
    finally:
        for pipe, process in workers.items():
            process.join()  # where all went well it ends by itself
            pipe.close()


@contextmanager
def signals_held() -> Iterator[set[signal.Signals]]:
    """Fork in here, and let the copy put the mask this gives back in force once it is ready to be stopped.

    A handler that raises would otherwise raise in a copy that has not left its parent's stack yet, and unwind that.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield mask  # type: ignore[misc]  # numbers without a name are not what is held here
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(work: Callable[[int], Any], num_jobs: int, counter: Any, pipe: Connection, mask: set[signal.Signals]) -> None:
    import torch

    torch.set_num_threads(1)  # the threads of the parent are not in its copy
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        while (number := _next(counter)) < num_jobs:
            try:
                message = pickle.dumps((number, None, work(number)))
            except BaseException as error:
                message = pickle.dumps((number, error, None))
            pipe.send_bytes(message)  # `send` would share the memory of tensors, and it ends with this process
        pipe.close()
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(_STOPPED)  # told to stop, or nobody listens any more


def _next(counter: Any) -> int:
    with counter.get_lock():
        number: int = counter.value
        counter.value += 1
    return number


def _gather(workers: dict[Any, Any], num_jobs: int, on_done: Callable[[], object]) -> list[Any]:
    results: dict[int, Any] = {}
    open_pipes = list(workers)
    while len(results) < num_jobs:
        ready: Any
        for ready in wait(open_pipes):
            try:
                number, error, result = pickle.loads(ready.recv_bytes())
            except EOFError:
                open_pipes.remove(ready)
                process = workers[ready]
                process.join()
                if process.exitcode:
                    raise FlexlamError(
                        f"A worker process ended with code {process.exitcode} before it was done. Look at the memory "
                        "that is left, or do with one worker."
                    ) from None
                continue
            if isinstance(error, BaseException):
                raise error
            results[number] = result
            on_done()
    return [results[number] for number in range(num_jobs)]

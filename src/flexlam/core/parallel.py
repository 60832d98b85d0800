"""Work in shares by copies of this process: they hold all that it holds, so nothing has to be sent to them."""

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from flexlam.core.errors import FlexlamError

Result = TypeVar("Result")


def run_in_shares(work: Callable[[int], Result], num_workers: int) -> list[Result]:
    """`work(0)` .. `work(num_workers − 1)`, each in a forked process with one thread, and what they return.

    In this process, one after the other, where there is only one, the system cannot fork, or a GPU is in use (a copy
    could not use it). Results travel pickled.

    Raises:
        FlexlamError: a worker died without a word; whatever a worker raises is raised here.
    """
    import torch

    if num_workers == 1 or sys.platform != "linux" or torch.cuda.is_initialized():
        return [work(number) for number in range(num_workers)]
    context = multiprocessing.get_context("fork")
    workers = []
    try:
        for number in range(num_workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(work, number, theirs))
            process.start()
            theirs.close()
            workers.append((process, ours))
        return [_receive(process, pipe) for process, pipe in workers]
    finally:
        for process, pipe in workers:
            process.terminate()
            process.join()
            pipe.close()


def _work(work: Callable[[int], Any], number: int, pipe: Connection) -> None:
    import torch

    torch.set_num_threads(1)  # the threads of the parent are not in its copy
    try:
        message: tuple[bool, Any] = (True, work(number))
    except BaseException as error:
        message = (False, error)
    pipe.send(message)
    pipe.close()


def _receive(process: Any, pipe: Connection) -> Any:
    try:
        succeeded, result = pipe.recv()
    except EOFError:
        process.join()
        raise FlexlamError(
            f"A worker process ended with code {process.exitcode} before it was done. Look at the memory that is left, "
            "or do with one worker."
        ) from None
    if not succeeded:
        raise result
    return result

"""Jobs in copies of this process: what they return, raise, and how they may die."""

import os
import signal
import time

import pytest
import torch

from flexlam.core.errors import FlexlamError, SuiteError
from flexlam.core.parallel import run_jobs


@pytest.mark.parametrize("num_workers", [1, 2, 9])
def test_every_result_comes_back_in_its_place(num_workers: int) -> None:
    weights = torch.arange(4.0)  # held by the copies, never sent
    done: list[None] = []
    found = run_jobs(lambda number: float((weights @ weights) * number), 5, num_workers, lambda: done.append(None))
    assert found == [14.0 * number for number in range(5)]
    assert len(done) == 5


def test_tensors_outlive_the_worker_that_made_them() -> None:
    def slow_to_read() -> None:
        time.sleep(0.3)  # meanwhile the other worker ends

    found = run_jobs(lambda number: torch.full((1000,), float(number)), 2, 2, slow_to_read)
    assert [float(tensor.mean()) for tensor in found] == [0.0, 1.0]


def test_no_jobs_are_no_work() -> None:
    assert run_jobs(lambda number: number, 0, 2) == []


def test_workers_are_processes_of_their_own() -> None:
    assert os.getpid() not in run_jobs(lambda number: os.getpid(), 2, 2)
    assert run_jobs(lambda number: os.getpid(), 2, 1) == [os.getpid()] * 2


def test_who_is_done_takes_the_next_job() -> None:
    def work(number: int) -> int:
        time.sleep(1.0 if number == 0 else 0.01)
        return os.getpid()

    first, *others = run_jobs(work, 5, 2)
    assert len(set(others)) == 1 and first not in others


def test_what_a_worker_raises_is_raised_here() -> None:
    def work(number: int) -> int:
        if number == 1:
            raise SuiteError("The game has crashed.")
        return number

    with pytest.raises(SuiteError, match="crashed"):
        run_jobs(work, 2, 2)


def test_a_worker_that_is_killed_is_told_of() -> None:
    def work(number: int) -> None:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(FlexlamError, match="ended with code -9"):
        run_jobs(work, 2, 2)

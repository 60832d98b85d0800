"""Jobs in copies of this process: what they return, raise, and how they may die."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

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


def test_one_job_may_be_done_apart_and_leaves_nothing_here() -> None:
    left: list[int] = []

    def work(number: int) -> int:
        left.append(number)
        return os.getpid()

    assert run_jobs(work, 1, 1, apart=True) != [os.getpid()] and left == []
    assert run_jobs(work, 0, 1, apart=True) == []


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


def raise_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def stopped_at_birth(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM raises, as it does under the command line, and every copy is told to stop the moment it is there."""
    fork, parent = os.fork, os.getpid()

    def fork_and_be_told() -> int:
        found = fork()
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(os, "fork", fork_and_be_told)
    before = signal.signal(signal.SIGTERM, raise_interrupt)
    yield
    signal.signal(signal.SIGTERM, before)
    if os.getpid() != parent:
        os._exit(1)  # a copy that has left its place must not go on as the test's process


def test_a_copy_that_is_stopped_at_birth_does_not_go_on_as_its_parent(stopped_at_birth: None, tmp_path: Path) -> None:
    note = tmp_path / "copies"
    parent = os.getpid()
    try:
        with pytest.raises(FlexlamError, match="ended with code 130"):
            run_jobs(lambda number: number, 2, 2)
    finally:
        if os.getpid() != parent:
            note.write_text("a copy came here")
    assert not note.exists()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()

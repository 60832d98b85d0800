"""Shares of work in copies of this process: what they return, raise, and how they may die."""

import os
import signal

import pytest
import torch

from flexlam.core.errors import FlexlamError, SuiteError
from flexlam.core.parallel import run_in_shares


@pytest.mark.parametrize("num_workers", [1, 3])
def test_every_share_comes_back_in_its_place(num_workers: int) -> None:
    weights = torch.arange(4.0)  # held by the copies, never sent
    found = run_in_shares(lambda number: float((weights @ weights) * number), num_workers)
    assert found == [14.0 * number for number in range(num_workers)]


def test_workers_are_processes_of_their_own() -> None:
    assert os.getpid() not in run_in_shares(lambda number: os.getpid(), 2)
    assert run_in_shares(lambda number: os.getpid(), 1) == [os.getpid()]


def test_what_a_worker_raises_is_raised_here() -> None:
    def work(number: int) -> int:
        if number == 1:
            raise SuiteError("The game has crashed.")
        return number

    with pytest.raises(SuiteError, match="crashed"):
        run_in_shares(work, 2)


def test_a_worker_that_is_killed_is_told_of() -> None:
    def work(number: int) -> None:
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(FlexlamError, match="ended with code -9"):
        run_in_shares(work, 2)

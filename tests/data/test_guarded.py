import ctypes
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, OutputError
from flexlam.data.guarded import Limits, guarded

LIMITS = Limits(seconds=20, gigabytes=0.5)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux alone")


def double(item, tell):
    tell(1)
    return item * 2


def outcomes(work, items, limits=LIMITS, num_workers=1, on_told=lambda told: None):
    found = {outcome.number: outcome for outcome in guarded(work, items, limits, num_workers, on_told)}
    assert sorted(found) == list(range(len(items)))
    return [found[number] for number in range(len(items))]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_every_item_has_its_outcome(num_workers):
    told = []
    found = outcomes(double, list(range(20)), num_workers=num_workers, on_told=told.append)
    assert [outcome.result for outcome in found] == [2 * item for item in range(20)]
    assert told == [1] * 20 and outcomes(double, []) == []


def misbehave(item, tell):
    if item == "crash":
        ctypes.string_at(0)
    elif item == "abort":
        os.abort()
    elif item == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif item == "leave":
        os._exit(3)
    elif item == "memory":
        return int(np.ones(int(2e9), np.uint8).sum())
    elif item == "wrong":
        raise DataError("this one is wrong")
    elif item == "unforeseen":
        return None.nothing
    elif item == "hang":
        time.sleep(60)
    return item


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_happens_to_a_child_is_one_failed_item(num_workers):
    items = ["a", "crash", "b", "abort", "killed", "c", "leave", "memory", "d", "wrong", "unforeseen", "e"]
    found = outcomes(misbehave, items, num_workers=num_workers)
    told = {
        "crash": "crashed (SIGSEGV)",
        "abort": "crashed (SIGABRT)",
        "killed": "SIGKILL; memory may have run out",
        "leave": "ended with code 3",
        "memory": "more memory than decoding may take",
        "wrong": "this one is wrong",
        "unforeseen": "AttributeError",
    }
    for item, outcome in zip(items, found, strict=True):
        if item in told:
            assert outcome.result is None and told[item] in str(outcome.error)
        else:
            assert outcome.result == item and outcome.error is None


def test_a_child_that_hangs_is_given_up():
    found = outcomes(misbehave, ["a", "hang", "b"], Limits(seconds=0.5))
    assert [outcome.result for outcome in found] == ["a", None, "b"]
    assert "nothing came for 0.5 seconds" in str(found[1].error)


def test_signs_of_life_keep_a_slow_child_alive():
    def slowly(item, tell):
        for _ in range(8):
            time.sleep(0.2)
            tell(1)
        return item

    assert outcomes(slowly, ["a"], Limits(seconds=1.0))[0].result == "a"


def test_other_errors_end_the_work():
    def full(item, tell):
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="disk is full"):
        outcomes(full, ["a", "b"], num_workers=2)


def test_what_is_not_guarded_fails_by_item_too():
    found = {o.number: o for o in guarded(misbehave, ["a", "wrong", "unforeseen"], LIMITS, isolated=False)}
    assert found[0].result == "a" and found[1].error is not None and "AttributeError" in str(found[2].error)


def test_limits_are_checked():
    with pytest.raises(ConfigError):
        Limits.parse({"seconds": 0})


ORPHANS = r"""
import os, sys, time
from flexlam.data.guarded import Limits, guarded
def work(item, tell):
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(0.3)
for _ in guarded(work, range(100), Limits(), 3):
    pass
"""


def test_children_do_not_outlive_a_killed_parent():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = {int(parent.stdout.readline()) for _ in range(3)}
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 30
        while any(os.path.exists(f"/proc/{child}") and not zombie(child) for child in children):  # noqa: PTH110
            assert time.monotonic() < deadline, "children live on"
            time.sleep(0.1)


def zombie(process):
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True

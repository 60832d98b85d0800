"""Progress bars with rate and time left; silent when asked or when nobody watches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn all bars off (or on again)."""
    global _quiet
    _quiet = quiet


@contextmanager
def silence() -> Iterator[None]:
    """No bars and no lines from what is done in a block; bars that are there already stay."""
    before = _quiet
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)


def say(text: str) -> None:
    """One line on standard error, unless bars are off."""
    if not _quiet:
        print(text, file=sys.stderr)


@contextmanager
def progress(total: int, what: str, unit: str, initial: int = 0) -> Iterator["tqdm[Any]"]:
    """A bar on standard error; in a log file it prints a line now and then instead of a thousand."""
    interactive = sys.stderr.isatty()
    with tqdm(
        total=total,
        desc=what,
        unit=unit,
        initial=initial,
        disable=_quiet,
        file=sys.stderr,
        dynamic_ncols=interactive,
        mininterval=0.2 if interactive else 15.0,
        maxinterval=10.0 if interactive else 30.0,
        delay=1e-6,  # what is refused before anything was done shows no bar
    ) as bar:
        yield bar
        bar.delay = 0.0  # what is done shows one, however short it was

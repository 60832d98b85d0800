"""Errors written for people: what was wrong, what was expected, how to mend it.

FlexlamError                    the command line prints it as one message and exits with code 2
├── ConfigError                 an unknown preset, name or option, or a value out of range
├── DataError                   a dataset or a frame that cannot be used
├── CheckpointError             a checkpoint that is truncated, damaged, foreign or too new
├── OutputError                 the output folder cannot be written, or already holds a run
├── SuiteError                  an environment that cannot be started or has crashed
└── TrainingError               training cannot go on (a loss that is not finite, nothing to train on)
"""

import difflib
from collections.abc import Iterable


class FlexlamError(Exception):
    """Anything that the user can mend."""


class ConfigError(FlexlamError):
    """An unknown preset, name or option, or a value out of range."""


class DataError(FlexlamError):
    """A dataset or a frame that cannot be used."""


class CheckpointError(FlexlamError):
    """A checkpoint that is truncated, damaged, foreign or of an unknown format version."""


class OutputError(FlexlamError):
    """The output folder cannot be written, or already holds something."""


class SuiteError(FlexlamError):
    """An environment that cannot be started or has crashed."""


class TrainingError(FlexlamError):
    """Training cannot go on."""


class ExportError(FlexlamError):
    """A model cannot be exported, or its export does not compute what it does."""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """One sentence that names the nearest known word and the whole list."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Known: {', '.join(known)}."

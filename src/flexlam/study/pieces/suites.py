"""What a study must know of a suite before anything is computed."""

from dataclasses import dataclass
from functools import cache

from flexlam.core.action import ActionSpec
from flexlam.core.parallel import run_jobs
from flexlam.envs.base import open_suite


@dataclass(frozen=True)
class Outline:
    """A suite, told without an open game."""

    tasks: tuple[str, ...]
    scored: tuple[str, ...]
    """Tasks whose returns can be normalised."""
    action_spec: ActionSpec
    frame_shape: tuple[int, int, int]
    """(H, W, C) of a frame."""
    has_expert: bool


@cache
def outline(suite: str) -> Outline:
    """Look at a suite, in a process of its own.

    A suite that draws with OpenGL must not do so here: copies of this process could not draw, and would wait for ever.

    Raises:
        ConfigError: there is no such suite, or a package is missing.
        SuiteError: it cannot be used.
    """
    (found,) = run_jobs(lambda _: _look(suite), 1, 1, apart=True)
    return found


def _look(name: str) -> Outline:
    suite = open_suite(name)
    scored = tuple(task for task in suite.tasks if suite.reference(task) is not None)
    return Outline(suite.tasks, scored, suite.action_spec, suite.frame_shape, suite.has_expert)

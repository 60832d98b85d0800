"""Worlds with exact truth, bare and before waves: `python benchmarks/worlds.py`.

Frames per CPU-second (one thread, random actions, physics and drawing included, nothing written), and which share of
the squared change from frame to frame is the agent's. `--sheet FILE` draws a contact sheet: a row for each world, three
successive frames of one episode bare and before each backdrop.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from flexlam.core import catalog
from flexlam.core.errors import FlexlamError
from flexlam.core.machine import describe_machine, single_thread
from flexlam.envs import metaworld_suite
from flexlam.envs.base import Environment, open_suite
from flexlam.envs.dm_control_suite import TASKS
from flexlam.envs.gridworld import GridworldSuite
from flexlam.envs.overlay import with_overlays
from flexlam.envs.two_routes import TwoRoutesSuite
from flexlam.report.table import Table

BACKDROPS = (None, "waves", "texture", "sprites", "flicker")
MEASURED = BACKDROPS[:2]
_IN_A_ROW, _GAP = 3, 3


def worlds(only: str | None) -> list[tuple[str, str]]:
    """Suite and task of every world that can be run here."""
    found = [("gridworld", task) for task in GridworldSuite.tasks]
    if only == "gridworld":
        return found
    found += [("two-routes", task) for task in TwoRoutesSuite.tasks]
    if importlib.util.find_spec("dm_control") is not None:
        found += [(f"dm_control:{task}", task) for task in TASKS]
    return found


def games() -> list[tuple[str, str]]:
    """The same of Meta-World and Procgen, as far as they are installed."""
    found: list[tuple[str, str]] = []
    if importlib.util.find_spec("metaworld") is not None:
        found += [("metaworld", task) for task in metaworld_suite.TASKS]
    if importlib.util.find_spec("procgen") is not None:
        found += [("procgen", task) for task in ("coinrun", "heist", "maze", "starpilot")]
    return found


def make(suite: str, task: str, backdrop: str | None) -> Environment:
    """A running world."""
    overlays = () if backdrop is None else (catalog.lookup("overlay", backdrop).Config(),)
    return with_overlays(open_suite(suite), overlays, seed=0).make(task)


def frames(environment: Environment, num_steps: int) -> np.ndarray:
    """Frames (num_steps, H, W, C) of episodes of random actions, the same for every backdrop."""
    generator, step, found = np.random.default_rng(0), environment.reset(0), []
    for number in range(num_steps):
        found.append(step.obs)
        step = environment.step(environment.sample_action(generator))
        if step.terminated or step.truncated:
            step = environment.reset(number)
    return np.stack(found)


def table(found: list[tuple[str, str]], num_steps: int, repeats: int) -> Table:
    """A row for each world: the median rate of the repeats and their range, and the agent's share of the change."""
    rows = []
    for suite, task in found:
        cells, changes = [task], []
        for backdrop in MEASURED:
            with make(suite, task, backdrop) as environment:
                rates = []
                for _ in range(repeats):
                    start = time.process_time()
                    seen = frames(environment, num_steps)
                    rates.append(num_steps / (time.process_time() - start))
            changes.append(float((np.diff(seen.astype(np.float32), axis=0) ** 2).mean()))
            share = "" if backdrop is None else f", {changes[0] / changes[-1]:.0%}"
            cells.append(f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}){share}")
        rows.append(tuple(cells))
    return Table(("frames per CPU-second, agent's share", *(name or "bare" for name in MEASURED)), (tuple(rows),))


def sheet(found: list[tuple[str, str]]) -> Image.Image:
    """A row for each world, groups of successive frames for each backdrop."""
    width = len(BACKDROPS) * (_IN_A_ROW * (64 + _GAP) + _GAP)
    picture = Image.new("RGB", (width, len(found) * (64 + _GAP)), "white")
    for row, (suite, task) in enumerate(found):
        left = 0
        for backdrop in BACKDROPS:
            with make(suite, task, backdrop) as environment:
                for frame in frames(environment, _IN_A_ROW):
                    picture.paste(Image.fromarray(frame), (left, row * (64 + _GAP)))
                    left += 64 + _GAP
            left += _GAP
    return picture


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a hundred frames, once")
    parser.add_argument("--only", choices=("gridworld",), help="leave out what needs MuJoCo")
    parser.add_argument("--games", action="store_true", help="Meta-World and Procgen instead")
    parser.add_argument("--sheet", type=Path, help="draw a contact sheet into this file, too")
    options = parser.parse_args()
    try:
        with single_thread():
            chosen = games() if options.games else worlds(options.only)
            found = table(chosen, *((100, 1) if options.quick else (300, 3)))
            if options.sheet is not None:
                sheet(chosen).save(options.sheet)
    except FlexlamError as error:
        print(error, file=sys.stderr)
        return 2
    print(describe_machine())
    print(found.to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The expert/random table of the ViZDoom suite: `python -m flexlam.envs.vizdoom_reference --episodes 50`.

The seeds start at 7000; the experts' rules were written looking at seeds 0 to 99 only.
"""

import argparse
import json
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from flexlam.core.errors import FlexlamError
from flexlam.core.files import write_text
from flexlam.core.seeding import numpy_generator
from flexlam.envs.vizdoom import VizdoomEnvironment, VizdoomSuite

FIRST_SEED = 7000
TABLE = Path(__file__).with_suffix(".json")
TASKS = tuple(task for task in VizdoomSuite.tasks if task != "arena")
"""The arena is no yardstick: nothing plays it well."""


def measure(task: str, num_episodes: int) -> dict[str, Any]:
    """One row of the table: returns of the expert and of uniformly random legal choices on the same seeds."""
    with VizdoomSuite().make(task) as environment:
        seeds = range(FIRST_SEED, FIRST_SEED + num_episodes)
        expert = [_play(environment, seed, None) for seed in seeds]
        random = [_play(environment, seed, numpy_generator(seed, "reference")) for seed in seeds]
    return {
        "expert": _round(np.mean(expert)),
        "expert_stderr": _round(_stderr(expert)),
        "random": _round(np.mean(random)),
        "random_stderr": _round(_stderr(random)),
        "num_episodes": num_episodes,
    }


def table(tasks: tuple[str, ...], num_episodes: int, num_workers: int) -> dict[str, Any]:
    """The whole table, ready to be written as JSON."""
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        rows = dict(zip(tasks, pool.map(measure, tasks, [num_episodes] * len(tasks)), strict=True))
    return {
        "command": f"python -m flexlam.envs.vizdoom_reference --episodes {num_episodes}",
        "vizdoom": version("vizdoom"),
        "seeds": [FIRST_SEED, FIRST_SEED + num_episodes - 1],
        "random": "uniform over the legal choices of the task, one draw per decision",
        "tasks": rows,
    }


def _play(environment: VizdoomEnvironment, seed: int, generator: np.random.Generator | None) -> float:
    legal = np.flatnonzero(environment.legal_actions())
    step, total = environment.reset(seed), 0.0
    while not (step.terminated or step.truncated):
        choice = environment.expert_action() if generator is None else generator.choice(legal, 1)
        step = environment.step(choice.astype(np.float32))
        total += step.reward
    return total


def _stderr(returns: list[float]) -> float:
    return float(np.std(returns, ddof=1)) / math.sqrt(len(returns)) if len(returns) > 1 else math.inf


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flexlam.envs.vizdoom_reference", description=__doc__)
    parser.add_argument("--episodes", type=int, default=50, help="episodes of each task and behaviour, at least 2")
    parser.add_argument("--workers", type=int, default=2, help="games played at the same time")
    parser.add_argument("--out", type=Path, default=TABLE, help="file to write")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS, help="some tasks only")
    chosen = parser.parse_args(arguments)
    if chosen.episodes < 2 or chosen.workers < 1:
        parser.error("--episodes must be at least 2 and --workers at least 1")
    try:
        result = table(tuple(chosen.tasks), chosen.episodes, chosen.workers)
        write_text(chosen.out, json.dumps(result, indent=2) + "\n")
    except FlexlamError as error:
        print(error, file=sys.stderr)
        return 2
    for task, row in result["tasks"].items():
        expert, random = f"{row['expert']:.2f} ± {row['expert_stderr']:.2f}", f"{row['random']:.2f}"
        print(f"{task:26s} expert {expert:>20s}   random {random:>9s} ± {row['random_stderr']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

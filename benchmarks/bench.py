"""Speed of one CPU thread, against ceilings measured in the same run: `make bench`.

CPU seconds are those of this process (`time.process_time`), so that a busy machine disturbs little. Every task is
timed in turn, again and again; medians are shown with the smallest and the largest of the repeats.
"""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from flexlam.core.files import write_text
from flexlam.core.machine import describe_machine, single_thread
from flexlam.core.seeding import numpy_generator, torch_generator
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.parts import StoreConfig
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.presets.base import load_preset
from flexlam.report.table import Table
from flexlam.training.lam import LamRunConfig
from flexlam.training.optimizer import build_optimizers, set_learning_rate

FRAME_SHAPE = (64, 64, 3)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    num_repeats: int
    seconds: float
    """CPU seconds of one repeat of one task, about."""
    square: int
    """Side of the square matrices."""
    num_frames: int
    """Frames of the store."""
    batch_size: int | None
    """Transitions in a batch; None for those of the configuration."""


FULL = Effort(num_repeats=7, seconds=0.5, square=1024, num_frames=4000, batch_size=None)
QUICK = Effort(num_repeats=2, seconds=0.02, square=256, num_frames=200, batch_size=8)


@dataclass(frozen=True)
class Task:
    """Something to time."""

    name: str
    dtype: str
    run: Callable[[], object]
    amount: float
    """Units of work in one call: transitions, pairs or floating-point operations."""
    flops: float = 0.0
    """Floating-point operations in one call; 0 where they do not count."""

    @property
    def is_ceiling(self) -> bool:
        """Whether it does nothing but multiply."""
        return self.amount == self.flops


@dataclass(frozen=True)
class Rate:
    """Amount a CPU second of every repeat."""

    task: Task
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def flops(self) -> float:
        """Floating-point operations a second."""
        return self.median * self.task.flops / self.task.amount

    def text(self, scale: float = 1.0) -> str:
        """Median (smallest to largest)."""
        low, middle, high = (f"{scale * value:.4g}" for value in (min(self.values), self.median, max(self.values)))
        return f"{middle} ({low} to {high})"


def measure(tasks: Sequence[Task], effort: Effort) -> list[Rate]:
    """Time all tasks in turn, `num_repeats` times."""
    calls = [_calls_for(task, effort.seconds) for task in tasks]
    values: list[list[float]] = [[] for _ in tasks]
    for _ in range(effort.num_repeats):
        for task, count, found in zip(tasks, calls, values, strict=True):
            found.append(count * task.amount / _cpu_seconds(task, count))
    return [Rate(task, tuple(found)) for task, found in zip(tasks, values, strict=True)]


def _calls_for(task: Task, seconds: float) -> int:
    task.run()  # the first call allocates and chooses kernels
    count = 1
    while (spent := _cpu_seconds(task, count)) < seconds / 4:
        count *= 2
    return max(1, round(count * seconds / spent))


def _cpu_seconds(task: Task, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        task.run()
    return max(time.process_time() - began, 1e-9)


def matmul_tasks(config: LamRunConfig, effort: Effort) -> list[Task]:
    """Large squares, and the widest layer of the decoder over a whole batch."""
    decoder = config.lam.decoder
    num_tokens = config.training.batch_size * (FRAME_SHAPE[0] // decoder.patch_size) ** 2
    shapes = {"square": (effort.square,) * 3, "like the model": (num_tokens, decoder.dim, 4 * decoder.dim)}
    return [_matmul(name, shape, dtype) for name, shape in shapes.items() for dtype in DTYPES]


def _matmul(name: str, shape: tuple[int, int, int], dtype: str) -> Task:
    generator = torch_generator(0, "bench", name)
    m, k, n = shape
    a, b = (torch.randn(size, generator=generator).to(DTYPES[dtype]) for size in ((m, k), (k, n)))
    flops = 2.0 * m * k * n
    return Task(f"{name} {m}×{k}×{n}", dtype, lambda: a @ b, flops, flops)


def model_tasks(config: LamRunConfig) -> list[Task]:
    """LAM training steps and encoding, in both precisions, from uint8 frames in memory."""
    batch = config.training.batch_size
    frames = numpy_generator(0, "bench").integers(0, 256, (2, batch, *FRAME_SHAPE), dtype=np.uint8)
    obs, next_obs = torch.from_numpy(frames)
    tasks = []
    for dtype in DTYPES:
        train, loss = _training(config, obs, next_obs, dtype)
        tasks.append(Task("LAM training", dtype, train, batch, _count_flops(lambda loss=loss: loss().backward())))
        model = LatentActionModel(config.lam, FRAME_SHAPE).eval()
        encode = _autocast(dtype, lambda model=model: model.encode(obs, next_obs))
        tasks.append(Task("LAM encoding", dtype, encode, batch, _count_flops(encode)))
    return tasks


def _training(
    config: LamRunConfig, obs: torch.Tensor, next_obs: torch.Tensor, dtype: str
) -> tuple[Callable[[], None], Callable[[], torch.Tensor]]:
    """One training step (forward, backward, clipping, optimiser) as the loop does it, and its forward pass alone."""
    model = LatentActionModel(config.lam, FRAME_SHAPE).train()
    settings = config.training
    optimizers = build_optimizers(model, settings.optimizer)
    generator = torch_generator(0, "bench", "prefix")
    forward = _autocast(dtype, lambda: model.loss(frames_to_images(obs), frames_to_images(next_obs), generator)[0])

    def step() -> None:
        set_learning_rate(optimizers, settings.optimizer, 0, settings.num_steps)
        forward().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.optimizer.max_grad_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step, forward


def _autocast(dtype: str, function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with torch.autocast("cpu", DTYPES[dtype], enabled=dtype != "fp32"):
            return function()

    return run


def _count_flops(function: Callable[[], object]) -> float:
    """Operations of matrix products; attention is spelled out, because its fused CPU kernel is not counted."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops())


class _NoiseReader:
    """Ten episodes of noise."""

    def __init__(self, num_frames: int) -> None:
        self.length = num_frames // 10
        self.info = DatasetInfo("noise", 10, 10 * self.length, FRAME_SHAPE, 30.0, None, ("noise",))

    def episodes(self) -> list[EpisodeInfo]:
        return [EpisodeInfo(index, str(index), "noise", self.length) for index in range(10)]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        generator = numpy_generator(0, "bench", "frames", episode.index)
        for _ in range(self.length):
            yield generator.integers(0, 256, FRAME_SHAPE, dtype=np.uint8)

    def columns(self, episode: EpisodeInfo) -> Columns:
        return Columns(np.arange(self.length) / 30.0)


def store_task(folder: Path, batch_size: int, num_frames: int) -> Task:
    """Batches of random pairs from a raw frame store that lies in the page cache."""
    build_store(_NoiseReader(num_frames), folder, StoreConfig(), announce=lambda _: None)
    store = FrameStore.open(folder)
    index = TransitionIndex.build(store)
    generator = numpy_generator(0, "bench", "rows")
    return Task(
        "random pairs, raw store",
        "uint8",
        lambda: index.batch(store, generator.integers(0, len(index), batch_size)),
        batch_size,
    )


def tables(rates: Sequence[Rate]) -> tuple[Table, Table, list[dict[str, Any]]]:
    """Ceilings, speeds with their share of the ceilings, and both as rows of results.json."""
    rows = [
        {
            "name": rate.task.name,
            "dtype": rate.task.dtype,
            "per_cpu_second": rate.median,
            "lowest": min(rate.values),
            "highest": max(rate.values),
            "gflops_per_second": rate.flops / 1e9,
        }
        for rate in rates
    ]
    ceilings = [(rate, row) for rate, row in zip(rates, rows, strict=True) if rate.task.is_ceiling]
    speeds = [(rate, row) for rate, row in zip(rates, rows, strict=True) if not rate.task.is_ceiling]
    lines = []
    for rate, row in speeds:
        gigaflops = share_of_best = share_of_like = "–"
        if rate.task.flops:
            found = [ceiling.flops for ceiling, _ in ceilings if ceiling.task.dtype == rate.task.dtype]
            row["share_of_best_ceiling"] = rate.flops / max(found)
            row["share_of_ceiling_like_the_model"] = rate.flops / found[-1]
            gigaflops = f"{rate.flops / 1e9:.1f}"
            share_of_best = f"{row['share_of_best_ceiling']:.0%}"
            share_of_like = f"{row['share_of_ceiling_like_the_model']:.0%}"
        lines.append((rate.task.name, rate.task.dtype, rate.text(), gigaflops, share_of_best, share_of_like))
    first = Table(
        ("matrix product", "dtype", "GFLOP per CPU-second"),
        (tuple((rate.task.name, rate.task.dtype, rate.text(1e-9)) for rate, _ in ceilings),),
    )
    header = ("what", "dtype", "transitions per CPU-second", "GFLOP/s", "of best ceiling", "of ceiling like the model")
    return first, Table(header, (tuple(lines),)), rows


def _config(effort: Effort) -> LamRunConfig:
    """Model and batch of vizdoom-small, the demo's."""
    config: LamRunConfig = load_preset("vizdoom-small").lam
    if effort.batch_size is None:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"batch_size": effort.batch_size})})


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Speed of one CPU thread, against ceilings measured in the same run.")
    parser.add_argument("--quick", action="store_true", help="seconds instead of a minute; the figures mean little")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    config = _config(effort)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    with single_thread(), tempfile.TemporaryDirectory() as folder:
        machine = describe_machine()
        print(f"{machine['processor']}, 1 thread · torch {torch.__version__} · {created}")
        shape = "×".join(map(str, FRAME_SHAPE))
        print(f"vizdoom-small, {config.training.batch_size} transitions of {shape}; median (lowest to highest)\n")
        reader = store_task(Path(folder) / "store", config.training.batch_size, effort.num_frames)
        rates = measure([*matmul_tasks(config, effort), *model_tasks(config), reader], effort)
    ceilings, speeds, rows = tables(rates)
    print(f"{ceilings.to_text()}\n\n{speeds.to_text()}\n")
    print("GFLOP/s count the products of the forward pass (and the backward one in training), not the optimiser's.")
    if options.json:
        results = {
            "schema_version": 1,
            "kind": "bench",
            "command": shlex.join(["python", "benchmarks/bench.py", *arguments]),
            "created": created,
            "config_hash": config.hash(),
            "data_hash": None,
            "parent_hashes": {},
            "machine": {**machine, "torch": torch.__version__},
            "rows": rows,
        }
        write_text(options.json, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

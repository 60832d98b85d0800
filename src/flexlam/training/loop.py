"""The training loop: one function for every stage, exact to the bit across a kill and a resume.

Nothing random is stored. Batches and noise are functions of (seed, step), so weights, optimiser state and the step
are all that a checkpoint needs.
"""

import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from flexlam.core import catalog
from flexlam.core.checkpoint import load_weights, read_bundle, write_bundle
from flexlam.core.config import Config
from flexlam.core.errors import TrainingError
from flexlam.core.files import explain_write_errors
from flexlam.core.machine import Device, Precision, choose_precision
from flexlam.core.progress import progress
from flexlam.core.run_folder import RunFolder
from flexlam.training.optimizer import (
    OptimizerConfig,
    build_optimizers,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)


class LoopConfig(Config):
    """Settings of a training run."""

    num_steps: int = Field(default=3000, ge=1)
    """Optimiser steps."""
    batch_size: int = Field(default=64, ge=2)
    """Transitions a step."""
    seed: int = 0
    """Everything random follows from it."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How weights are updated."""
    device: Device = "auto"
    """Where to compute (--device for short where there is one loop)."""
    precision: Precision = "auto"
    """Matrix multiplications in fp32 or bf16; auto takes bf16 where the hardware computes in it (also --precision)."""
    log_every: int = Field(default=50, ge=1)
    """Steps between logged training losses."""
    evaluate_every: int = Field(default=500, ge=1)
    """Steps between evaluations on validation episodes."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    """Where numbers go beside metrics.jsonl."""


class Stage(Protocol):
    """What is trained."""

    @property
    def module(self) -> nn.Module:
        """Every weight, on its device."""

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the batch of a step, and numbers worth logging (scalars)."""

    def evaluate(self, step: int) -> dict[str, float]:
        """Numbers measured on validation episodes."""


def train(stage: Stage, config: LoopConfig, run: RunFolder, what: str) -> None:
    """Train from the newest whole checkpoint (or from the start) to the last step.

    On Ctrl-C or SIGTERM the current step is finished, a checkpoint is written and KeyboardInterrupt raised.

    Raises:
        TrainingError: the loss is not finite.
        OutputError: the disk is full.
    """
    with run.claimed():
        _train(stage, config, run, what)


def _train(stage: Stage, config: LoopConfig, run: RunFolder, what: str) -> None:
    optimizers = build_optimizers(stage.module, config.optimizer)
    start = _resume(stage, optimizers, run)
    with (
        _trackers(config, run) as log,
        _stop_requests() as stop,
        progress(config.num_steps, what, "step", initial=start) as bar,
    ):
        for step in range(start, config.num_steps):
            values = _update(stage, optimizers, config, step)
            done = step + 1
            bar.update()
            if done % config.log_every == 0 or done == config.num_steps:
                numbers = {name: float(value) for name, value in values.items()}
                bar.set_postfix(loss=f"{numbers['loss']:.4f}")
                log(done, numbers)
            if done % config.evaluate_every == 0 or done == config.num_steps:
                log(done, _evaluate(stage, config, done))
            if done % config.checkpoint_every == 0 or done == config.num_steps or stop.is_set():
                _save(stage, optimizers, run, done)
            if stop.is_set() and done < config.num_steps:
                raise KeyboardInterrupt(f"stopped after step {done}")


def time_steps(stage: Stage, config: LoopConfig, num_warmup: int, num_timed: int) -> tuple[float, int]:
    """Median seconds of some training steps, and the bytes of a checkpoint; weights change, nothing is written."""
    optimizers = build_optimizers(stage.module, config.optimizer)
    seconds = []
    for step in range(num_warmup + num_timed):
        began = time.perf_counter()
        _update(stage, optimizers, config, step)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    tensors = [*stage.module.state_dict().values(), *optimizer_tensors(optimizers).values()]
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return statistics.median(seconds[num_warmup:]), num_bytes


def _update(
    stage: Stage, optimizers: list[torch.optim.Optimizer], config: LoopConfig, step: int
) -> dict[str, Tensor | float]:
    """One optimiser step; returns what is worth logging."""
    began = time.perf_counter()
    rate = set_learning_rate(optimizers, config.optimizer, step, config.num_steps)
    stage.module.train()
    with _autocast(stage, config):
        loss, aux = stage.loss(step)
    loss.backward()
    grad_norm = nn.utils.clip_grad_norm_(stage.module.parameters(), config.optimizer.max_grad_norm)
    if not torch.isfinite(grad_norm):
        raise TrainingError(
            f"The loss or its gradient is not finite at step {step} (loss {float(loss.detach()):g}). Lower "
            "optimizer.learning_rate, or use --training.precision fp32; the last checkpoint is intact."
        )
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    rate_per_second = config.batch_size / (time.perf_counter() - began)
    return {
        "loss": loss.detach(),
        **aux,
        "grad_norm": grad_norm,
        "learning_rate": rate,
        "transitions_per_second": rate_per_second,
    }


def _evaluate(stage: Stage, config: LoopConfig, step: int) -> dict[str, float]:
    stage.module.eval()
    with _autocast(stage, config):
        return {f"validation/{name}": value for name, value in stage.evaluate(step).items()}


def _autocast(stage: Stage, config: LoopConfig) -> torch.autocast:
    device = next(stage.module.parameters()).device
    precision = choose_precision(config.precision, device)
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)


def _save(stage: Stage, optimizers: list[torch.optim.Optimizer], run: RunFolder, step: int) -> None:
    tensors = {"module": stage.module.state_dict(), "optimizer": optimizer_tensors(optimizers)}
    write_bundle(run.checkpoint_path(step), "training-state", {}, tensors, {"step": step})
    run.forget_checkpoints_before(step)


def _resume(stage: Stage, optimizers: list[torch.optim.Optimizer], run: RunFolder) -> int:
    """Load the newest whole checkpoint; returns its step, 0 if there is none."""
    steps = run.checkpoints()
    if not steps:
        run.rewind(0)
        return 0
    path = run.checkpoint_path(steps[-1])
    bundle = read_bundle(path, "training-state")
    load_weights(stage.module, bundle.tensors["module"], path)
    load_optimizer_tensors(optimizers, bundle.tensors["optimizer"])
    run.rewind(steps[-1])
    return steps[-1]


@contextmanager
def _trackers(config: LoopConfig, run: RunFolder) -> Iterator[Any]:
    """A function that logs numbers of a step everywhere."""
    trackers = [catalog.lookup("tracker", name)(run.path, run.header["config"]) for name in config.trackers]

    def log(step: int, numbers: dict[str, float]) -> None:
        run.log(step, **numbers)
        with explain_write_errors(run.path):
            for tracker in trackers:
                tracker.log(step, numbers)

    try:
        yield log
    finally:
        with explain_write_errors(run.path):
            for tracker in trackers:
                tracker.close()


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask for a clean stop after the current step; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

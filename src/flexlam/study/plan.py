"""What a training run will cost, before it is begun: measured on some steps, and counted."""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from flexlam.core.action import ActionSpec
from flexlam.core.machine import choose_device, choose_precision
from flexlam.core.run_folder import RunFolder
from flexlam.report.table import Table
from flexlam.study.pieces.models import objective_flops
from flexlam.training.lam import LamRunConfig, LamStage, images_of
from flexlam.training.loop import time_steps
from flexlam.training.pairs import load_pairs, open_twin

_WARM_UP, _TIMED = 3, 5


@dataclass(frozen=True)
class Plan:
    """What stage 1 will cost."""

    num_transitions: int
    """Training transitions of the store."""
    epochs: float
    """How often each is seen."""
    num_parameters: int
    flops_per_step: int
    """Floating-point operations, forward and backward."""
    seconds_per_step: float
    """Median of some steps, measured now."""
    hours: float
    """Of all steps, at that pace; evaluation comes on top."""
    memory_bytes: int
    """Most that this process (on a GPU, the GPU) has held in those steps."""
    checkpoint_bytes: int
    """A checkpoint on disk; two are there while one is replaced."""
    encode_seconds: float
    """For the codes of every transition of the store, at the pace of a batch."""
    device: str
    precision: str

    def table(self) -> Table:
        """As text for people."""
        rows = (
            ("training transitions", f"{self.num_transitions:,}, each seen {self.epochs:.1f} times"),
            ("parameters", f"{self.num_parameters:,}"),
            ("arithmetic of a step", f"{self.flops_per_step / 1e9:,.1f} GFLOP"),
            ("a step", f"{1e3 * self.seconds_per_step:,.0f} ms ({self.device}, {self.precision})"),
            ("training", f"{_duration(3600 * self.hours)}, and evaluations"),
            ("memory", f"{self.memory_bytes / 1e9:.2f} GB"),
            ("a checkpoint", f"{self.checkpoint_bytes / 1e6:,.1f} MB"),
            ("codes of the whole store", _duration(self.encode_seconds)),
        )
        return Table(("what", "how much"), (rows,))


def plan_lam(config: LamRunConfig, data: Path, twin: Path | None = None) -> Plan:
    """Build the model, take some training steps that leave no trace, and reckon.

    Raises:
        ConfigError: objectives that cannot be had together, or lack a twin.
        DataError: the store cannot be opened or does not fit.
    """
    pairs = load_pairs(data, config.pairs)
    device = choose_device(config.training.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with TemporaryDirectory() as folder:
        paired = None if twin is None else open_twin(twin, pairs.store)
        stage = LamStage(config, pairs, RunFolder.plan(Path(folder), "lam", {}, {}), paired)
        seconds, checkpoint = time_steps(stage, config.training, _WARM_UP, _TIMED)
        batch = min(256, len(pairs.train))
        obs, next_obs = images_of(pairs, pairs.train, stage.sampler.rows(0)[:batch], stage.lam.device)
        stage.module.eval()
        began = time.perf_counter()
        with torch.inference_mode():
            stage.lam.encode_images(obs, next_obs)
        encode = (time.perf_counter() - began) / len(obs)
    total = sum(len(index) for index in (pairs.train, pairs.validation, pairs.test))
    training, spec = config.training, pairs.store.action_spec or ActionSpec(num_continuous=1)
    return Plan(
        num_transitions=len(pairs.train),
        epochs=training.num_steps * training.batch_size / len(pairs.train),
        num_parameters=sum(parameter.numel() for parameter in stage.module.parameters()),
        flops_per_step=round(objective_flops(config, pairs.store.frame_shape, spec) * training.batch_size),
        seconds_per_step=seconds,
        hours=seconds * training.num_steps / 3600,
        memory_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_memory(),
        checkpoint_bytes=checkpoint,
        encode_seconds=encode * total,
        device=str(device),
        precision=str(choose_precision(training.precision, device)).removeprefix("torch."),
    )


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"

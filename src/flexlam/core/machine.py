"""Where a run was made: machine, versions, revision, threads, device, precision."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flexlam import __version__
from flexlam.core.errors import ConfigError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory and accelerator, for the record beside every figure."""
    import torch

    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
    }


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_environment() -> dict[str, Any]:
    """Machine, versions of everything installed, and the git revision of a source checkout."""
    return {
        "flexlam": __version__,
        "python": platform.python_version(),
        "command": [
            "flexlam" if Path(sys.argv[0]).name.startswith("flexlam") else Path(sys.argv[0]).name,
            *sys.argv[1:],
        ],
        "machine": describe_machine(),
        "git_revision": _git_revision(),
        "packages": dict(sorted((d.name, d.version) for d in distributions())),
    }


@contextmanager
def single_thread() -> Iterator[None]:
    """One CPU thread for the length of a block: networks of a few neurons lose more to threads than they gain."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(device: Device) -> "torch.device":
    """The device to compute on; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: the device is not there.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        found = ", ".join(name for name, there in available.items() if there)
        raise ConfigError(f"Device {device!r} is not available here. Available: {found}.")
    return torch.device(device)


def choose_precision(precision: Precision, device: "torch.device") -> "torch.dtype":
    """The dtype of matrix multiplications; `auto` takes bfloat16 where the hardware computes in it."""
    import torch

    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bf16() and device.type == "cpu"
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies in bfloat16; emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _git_revision() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None

"""Options that several verbs share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from flexlam.core import catalog
from flexlam.core.errors import ConfigError
from flexlam.core.machine import Device, num_cores

if TYPE_CHECKING:
    from flexlam.data.guarded import Limits
    from flexlam.data.source import SourceConfig
    from flexlam.envs.overlay import OverlayConfig


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a result goes."""

    out: Path
    """Folder for the result."""
    overwrite: bool = False
    """Replace what the folder holds."""
    quiet: bool = False
    """No progress bars."""


@dataclass(frozen=True, kw_only=True)
class ResumableOutput(Output):
    """Where a long run goes."""

    resume: bool = False
    """Continue an interrupted run in the folder, exactly where its last checkpoint stands."""

    def finished_before(self) -> bool:
        """Whether there is nothing left to resume."""
        return self.resume and (self.out / "model" / "manifest.json").exists()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a dataset is to be read."""

    camera: str | None = None
    """Which camera, of a dataset with several; the first by default."""
    action_timing: Literal["follows", "precedes"] | None = None
    """Do actions follow their frames (executed on seeing them) or precede them? By default as the format has it."""
    fps: float | None = None
    """Frames a second, of pictures and arrays that have no clock."""

    def config(self) -> "SourceConfig":
        """How it is to be read.

        Raises:
            ConfigError: a value out of range.
        """
        from flexlam.data.source import SourceConfig

        values = {"camera": self.camera, "action_timing": self.action_timing, "fps": self.fps}
        return SourceConfig.parse(values, "the command line")


@dataclass(frozen=True, kw_only=True)
class Source(Reading):
    """A dataset to read."""

    path: tyro.conf.Positional[str]
    """A dataset: a path, or a URL that fsspec opens (hf://, s3://, https://)."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Child processes that decode, and what each may take."""

    num_workers: int | None = None
    """Processes that decode; one for each core by default."""
    decode_seconds: float = 60.0
    """Without a frame for so long a file is given up."""
    decode_gigabytes: float = 4.0
    """Memory that a process may ask for."""

    def limits(self) -> "Limits":
        """As a setting.

        Raises:
            ConfigError: a value out of range.
        """
        from flexlam.data.guarded import Limits

        values = {"seconds": self.decode_seconds, "gigabytes": self.decode_gigabytes}
        return Limits.parse(values, "the command line")

    def workers(self) -> int:
        """How many.

        Raises:
            ConfigError: less than one.
        """
        if self.num_workers is not None and self.num_workers < 1:
            raise ConfigError(f"--num-workers is {self.num_workers}; give 1 or more.")
        return self.num_workers or num_cores()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A measurement on a run."""

    device: Device = "auto"
    """Where to compute."""
    json: Path | None = None
    """Write the figures to this file, too."""
    quiet: bool = False
    """No progress bars."""


def overlays_by_name(names: Sequence[str]) -> "tuple[OverlayConfig, ...]":
    """Overlays as they are by default.

    Raises:
        ConfigError: there is no such overlay.
    """
    return tuple(catalog.lookup("overlay", name).Config() for name in names)

"""Where metrics go beside metrics.jsonl: one small class a destination."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from flexlam.core.errors import ConfigError


def require_trackers(names: Iterable[str]) -> None:
    """Refuse a tracker before a run begins.

    Raises:
        ConfigError: its package is not installed.
    """
    for name in names:
        if find_spec(name) is None:  # each tracker is called as its package
            raise ConfigError(
                f"The tracker {name!r} needs the package {name!r}, which is not installed. "
                f"Install it with: pip install {name}. Or choose others with --training.trackers."
            )


class Tracker(Protocol):
    """Receives every logged number. Built as `Tracker(run_folder, config)`."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one step."""

    def close(self) -> None:
        """Flush."""


class TensorBoardTracker:
    """Event files in RUN/tensorboard."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(path / "tensorboard"))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class WandbTracker:
    """Weights & Biases (optional package); obeys its own environment variables, offline included."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        import wandb

        self._run = wandb.init(project="flexlam", dir=str(path), name=path.name, config=config, resume="allow")

    def log(self, step: int, values: dict[str, float]) -> None:
        """Numbers of one step."""
        self._run.log(values, step=step)

    def close(self) -> None:
        """Flush."""
        self._run.finish()

"""Where metrics go beside metrics.jsonl: one small class a destination."""

from pathlib import Path
from typing import Any, Protocol


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

"""Opening the finished runs that later stages build on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flexlam.core.errors import CheckpointError
from flexlam.core.run_folder import RunFolder
from flexlam.lam.model import LatentActionModel
from flexlam.training.pairs import FrameRecord, PairConfig


@dataclass(frozen=True)
class LamRun:
    """What later stages need to know of the run that made a model."""

    path: Path
    pairs: PairConfig
    parents: dict[str, str]
    frames: FrameRecord
    """How its training frames were made."""


def open_lam(path: Path, device: torch.device) -> tuple[LamRun, LatentActionModel]:
    """The model of a stage-1 or joint run (or a released model), and how its transitions were taken.

    Raises:
        CheckpointError: no such run, or it has not finished.
    """
    if (path / "bundle.json").exists():
        model = LatentActionModel.from_pretrained(path, device)
        state = model.state or {}
        pairs = PairConfig.parse(state.get("pairs", {}), where=str(path))
        return LamRun(path, pairs, state.get("parents", {}), _frames(state, path)), model
    run = RunFolder.open(path, ("lam", "joint"))
    if not run.finished:
        raise CheckpointError(f"The run {path} has not finished. Continue it with: flexlam train lam PRESET --resume")
    model = LatentActionModel.from_pretrained(run.model, device)
    pairs = PairConfig.parse(run.header["config"].get("pairs"), where=f"{path}/run.json")
    return LamRun(path, pairs, run.header["parents"], _frames(model.state or {}, run.model)), model


def _frames(state: dict[str, Any], path: Path) -> FrameRecord:
    return FrameRecord.parse(state.get("frames") or {}, where=str(path))

"""Decoded transitions of a model."""

from pathlib import Path
from typing import Any

from flexlam.core.machine import choose_device
from flexlam.evaluate.reconstruction import ReconstructionConfig, measure_reconstruction
from flexlam.study.graph import Step, write_rows
from flexlam.training.pairs import load_pairs
from flexlam.training.runs import open_lam


def reconstruction_step(data: Step, lam: Step, config: ReconstructionConfig, about: dict[str, Any]) -> Step:
    """PSNR and SSIM of decoded test transitions."""
    return Step("reconstruction", _reconstruct, config.model_dump(mode="json"), (data, lam), about)


def _reconstruct(step: Step, folder: Path, parents: list[Path]) -> None:
    lam_run, model = open_lam(parents[1] / "run", choose_device("auto"))
    pairs = load_pairs(parents[0] / "store", lam_run.pairs)
    write_rows(folder, measure_reconstruction(model, pairs, ReconstructionConfig.parse(step.settings))["rows"])

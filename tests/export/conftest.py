"""A small released model, and datasets of squares to encode with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_formats import FORMATS, Made, write_lossless
from flexlam.export.codes import EncodeReport, encode_dataset
from flexlam.export.encoding import EncodeConfig
from flexlam.lam.model import LatentActionModel
from tiny import lam_run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of 32 x 32 frames, with statistics of its own."""
    path = tmp_path_factory.mktemp("model") / "lam"
    torch.manual_seed(0)
    lam = LatentActionModel(lam_run().lam, (32, 32, 3)).train()
    for _ in range(3):
        lam.loss(torch.rand(16, 3, 32, 32) * 2 - 1, torch.rand(16, 3, 32, 32) * 2 - 1)
    lam.eval().save_pretrained(path, pairs={"gap_steps": 1}, parents={"data": "none"})
    return path


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Made]:
    """made(format) -> a dataset on disk."""
    return lambda name: FORMATS[name][1](tmp_path / name)


@pytest.fixture
def encode(model: Path, tmp_path: Path) -> Callable[..., EncodeReport]:
    """encode(data, name, format=..., engine=..., **settings) -> the report; the result lies in tmp_path / name."""

    def run(
        data: Path | str,
        name: str,
        format: str = "parquet",
        engine: str = "local",
        workers: int = 1,
        **settings: object,
    ) -> EncodeReport:
        config = EncodeConfig.parse({"run": str(model), "data": str(data), **settings})
        return encode_dataset(
            config,
            tmp_path / name,
            format,
            engine,
            num_workers=workers,
            announce=lambda _: None,  # type: ignore[arg-type]
        )

    return run


@pytest.fixture
def make_video() -> Callable[[Path, tuple[int, int]], None]:
    """make_video(path, (height, width)): a few frames of noise."""

    def make(path: Path, size: tuple[int, int]) -> None:
        frames = np.random.default_rng(0).integers(0, 255, (6, *size, 3), np.uint8)
        write_lossless(path, frames)

    return make

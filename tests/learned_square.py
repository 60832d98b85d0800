"""A model that has learned the moving square: fixtures for the tests of every later stage."""

from pathlib import Path

import pytest

from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.training.lam import train_lam
from moving_square import square_store
from tiny import lam_run


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Moving squares, with actions."""
    return square_store(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="session")
def learned(store: FrameStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A model that has learned something of them."""
    out: Path = tmp_path_factory.mktemp("learned") / "run"
    return train_lam(lam_run(400, evaluate_every=100, checkpoint_every=400), store.path, out)

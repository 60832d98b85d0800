from pathlib import Path

import pytest
import torch

from flexlam.core.errors import CheckpointError
from flexlam.core.run_folder import RunFolder
from flexlam.lam.model import LatentActionModel
from flexlam.training.runs import open_lam


def test_a_released_model_serves_as_well_as_its_run(learned: RunFolder, tmp_path: Path) -> None:
    model = LatentActionModel.from_pretrained(learned.path)
    pairs = learned.header["config"]["pairs"]
    model.save_pretrained(tmp_path / "released", parents={"data": "x"}, pairs=pairs)
    run, opened = open_lam(tmp_path / "released", torch.device("cpu"))
    assert run.pairs.model_dump(mode="json") == pairs and run.parents == {"data": "x"}
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), opened.parameters(), strict=True))
    assert (
        open_lam(learned.path / "model", torch.device("cpu"))[0].pairs
        == open_lam(learned.path, torch.device("cpu"))[0].pairs
    )


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", "lam", {}, {})
    with pytest.raises(CheckpointError, match="has not finished"):
        open_lam(tmp_path / "run", torch.device("cpu"))

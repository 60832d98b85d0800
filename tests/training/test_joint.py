from pathlib import Path

import pytest
import torch

from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.labels import LabelBudget
from flexlam.data.store import FrameStore
from flexlam.lam.model import LatentActionModel
from flexlam.training.joint import JointConfig, JointStage, train_joint
from flexlam.translator.model import load_translator
from tiny import loop

CONFIG = JointConfig(labels=LabelBudget(count=100), max_shift=1, action_weight=0.2, training=loop(40))


def test_labels_shape_the_encoder_and_the_new_translator_fits_the_new_model_only(
    store: FrameStore, learned: RunFolder, tmp_path: Path
) -> None:
    run = train_joint(CONFIG, learned.path, store.path, tmp_path / "run")
    before, after = (LatentActionModel.from_pretrained(r.model) for r in (learned, run))
    assert any(
        not torch.equal(a, b) for a, b in zip(before.encoder.parameters(), after.encoder.parameters(), strict=True)
    )
    assert torch.equal(before.prefix.null_latent, after.prefix.null_latent), "frozen, as promised"
    assert load_translator(run.path / "translator", after.hash).num_slots == 4
    assert run.header["parents"] == {"lam": before.hash, "data": store.content_hash}
    losses = [row["action_loss"] for row in run.metrics() if "action_loss" in row]
    assert losses[-1] < losses[0]


def test_a_resumed_joint_run_ends_with_the_same_bits(
    store: FrameStore, learned: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_joint(CONFIG, learned.path, store.path, tmp_path / "whole")
    original = JointStage.loss

    def breaks(self: JointStage, step: int) -> object:
        if step == 25:
            raise RuntimeError("power cut")
        return original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(JointStage, "loss", breaks)
        with pytest.raises(RuntimeError):
            train_joint(CONFIG, learned.path, store.path, tmp_path / "half")
    resumed = train_joint(CONFIG, learned.path, store.path, tmp_path / "half", resume=True)
    for part in ("model", "translator"):
        assert file_hash(whole.path / part / "model.safetensors") == file_hash(
            resumed.path / part / "model.safetensors"
        )

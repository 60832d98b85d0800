from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.data.store import FrameStore
from flexlam.lam.model import LatentActionModel
from flexlam.training.lam import train_lam
from flexlam.training.pairs import load_pairs
from tiny import lam_run

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


def test_it_trains_and_learns_on_a_gpu_and_its_model_serves_the_cpu(store: FrameStore, tmp_path: Path) -> None:
    config = lam_run(300, device="cuda", precision="auto", evaluate_every=100, checkpoint_every=100)
    run = train_lam(config, store.path, tmp_path / "run")
    curve = {int(k): error for k, error in run.read_json("health.json")["prefix_curve"].items()}
    assert curve[4] < 0.9 * curve[0]
    pairs = load_pairs(store.path, config.pairs)
    batch = pairs.test.batch(store, np.arange(32))
    on_cpu, on_gpu = (LatentActionModel.from_pretrained(run.path, device) for device in ("cpu", "cuda"))
    same = on_cpu.encode(batch.obs, batch.next_obs).indices == on_gpu.encode(batch.obs, batch.next_obs).indices.cpu()
    assert same.float().mean() > 0.98

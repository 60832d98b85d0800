from pathlib import Path

import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.evaluate.reconstruction import ReconstructionConfig, measure_reconstruction
from flexlam.lam.model import LatentActionModel
from flexlam.training.lam import train_lam
from flexlam.training.pairs import PairConfig, load_pairs
from tiny import FLOW, lam_run

CONFIG = ReconstructionConfig(num_transitions=60, num_sample_steps=2)


def test_more_slots_decode_better_and_psnr_is_that_of_the_frames(store: FrameStore, learned: RunFolder) -> None:
    model = LatentActionModel.from_pretrained(learned.model)
    pairs = load_pairs(store.path, PairConfig())
    measured = measure_reconstruction(model, pairs, CONFIG)
    psnr = {row["k"]: row["psnr"] for row in measured["rows"]}
    assert psnr[4] > psnr[1] - 0.2 and psnr[1] > psnr[0] + 0.5
    rows = np.sort(np.random.default_rng(0).permutation(len(pairs.test))[:60])
    batch = pairs.test.batch(pairs.store, rows)
    error = (batch.obs.double() - batch.next_obs.double()).square().mean((1, 2, 3))
    by_hand = np.minimum(10 * np.log10(255**2 / error.clamp_min(1e-9).numpy()), 100).mean()
    assert measured["copy"]["psnr"] == pytest.approx(by_hand, abs=1e-3)


def test_a_flow_decoder_reports_samples_beside_the_mean(store: FrameStore, tmp_path: Path) -> None:
    run = train_lam(lam_run(5, model={"decoder": FLOW}), store.path, tmp_path / "run")
    model = LatentActionModel.from_pretrained(run.model)
    row = measure_reconstruction(model, load_pairs(store.path, PairConfig()), CONFIG)["rows"][-1]
    assert np.isfinite(row["psnr"]) and np.isfinite(row["sample_psnr"])
    assert row["psnr"] != row["sample_psnr"]


def test_a_k_beyond_the_slots_is_refused(store: FrameStore, learned: RunFolder) -> None:
    model = LatentActionModel.from_pretrained(learned.model)
    with pytest.raises(ConfigError, match="0 to 4"):
        measure_reconstruction(
            model, load_pairs(store.path, PairConfig()), CONFIG.model_copy(update={"prefix_lengths": (9,)})
        )

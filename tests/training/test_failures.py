"""The two failures that cost the prototypes hours: each is provoked here, and detected."""

from pathlib import Path

import pytest
import torch
from torch import nn

from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.training.lam import train_lam
from tiny import FLOW, lam_run

QUICK = {"evaluate_every": 30, "checkpoint_every": 1000}


class IdenticalRegisters(PairEncoder):
    """Every block starts as the identity, so that registers read nothing of the picture at first."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        for block in self.blocks:
            nn.init.zeros_(block.attention.out.weight)
            nn.init.zeros_(block.mlp[-1].weight)
            nn.init.zeros_(block.mlp[-1].bias)


def test_registers_that_start_blind_collapse_and_the_verdict_says_so(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flexlam.lam.encoders.pair.PairEncoder", IdenticalRegisters)
    config = lam_run(90, model={"quantizer": {"name": "fsq", "normalize": "none"}}, **QUICK)
    health = train_lam(config, store.path, tmp_path / "run").read_json("health.json")
    assert health["verdict"] == "collapsed"
    assert "perplexity" in health["reason"]


def test_a_flow_decoder_without_pure_noise_ignores_the_codes_and_the_verdict_says_so(
    store: FrameStore, tmp_path: Path
) -> None:
    # Times near 0 leave the answer readable in the noisy frame, so that the latent action has nothing to add.
    blind = FLOW.model_copy(update={"pure_noise_share": 0.0, "time_mean": -3.0})
    config = lam_run(90, model={"decoder": blind}, **QUICK)
    health = train_lam(config, store.path, tmp_path / "run").read_json("health.json")
    assert health["verdict"] == "collapsed"
    assert "hardly uses the codes" in health["reason"]


def test_the_same_runs_with_our_settings_do_not_collapse(store: FrameStore, tmp_path: Path) -> None:
    for name, config in {
        "registers": lam_run(240, **QUICK),
        "flow": lam_run(400, model={"decoder": FLOW}, **QUICK),
    }.items():
        run: RunFolder = train_lam(config, store.path, tmp_path / name)
        health = run.read_json("health.json")
        assert health["verdict"] != "collapsed", (name, health["reason"], health["prefix_curve"])
    assert torch.get_num_threads() == 1

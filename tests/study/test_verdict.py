import json
from pathlib import Path

import pytest

from flexlam.core import catalog
from flexlam.data.labels import LabelBudget
from flexlam.data.store import FrameStore
from flexlam.study import verdict
from flexlam.training.lam import LamRunConfig
from tiny import FIT

ALIGNMENT = verdict.ALIGNMENT.model_copy(update={"num_draws": 2, "fit": FIT, "labels": LabelBudget(count=64)})
QUICK = {"training": {"num_steps": 6, "evaluate_every": 2, "batch_size": 8}, "lam": {"num_slots": 2}}


def test_there_are_a_dozen_models_good_and_bad_and_all_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.CATALOG["encoder"], "blind", "flexlam.study.verdict:BlindRegisters")
    assert len(verdict.VARIANTS) >= 12
    for changes in verdict.VARIANTS.values():
        LamRunConfig.parse(verdict._merge(verdict._base(), changes))


def test_it_measures_keeps_and_continues(store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = {**QUICK, "lam": {"num_slots": 2, "encoder": {"name": "blind"}}}
    monkeypatch.setattr(verdict, "VARIANTS", {"plain": QUICK, "blind": blind})
    monkeypatch.setitem(catalog.CATALOG["encoder"], "blind", "flexlam.study.verdict:BlindRegisters")
    results = verdict.run(store.path, tmp_path, ALIGNMENT)
    assert {row["name"] for row in results["rows"]} == {"plain", "blind"}
    losses = [row["action_loss"] for row in results["rows"]]
    assert losses == sorted(losses)
    made = (tmp_path / "runs" / "plain" / "model" / "manifest.json").stat().st_mtime_ns
    assert verdict.run(store.path, tmp_path, ALIGNMENT)["rows"] == results["rows"]
    assert (tmp_path / "runs" / "plain" / "model" / "manifest.json").stat().st_mtime_ns == made
    assert json.loads((tmp_path / "results.json").read_text())["kind"] == "verdict"
    assert "plain" in (tmp_path / "table.md").read_text()

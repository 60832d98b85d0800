"""What the codes of a model tell, where the truth is known."""

from pathlib import Path
from typing import Any

from flexlam.core.machine import choose_device
from flexlam.data.store import FrameStore
from flexlam.evaluate.probes import ProbesConfig, measure_probes
from flexlam.study.graph import Step, write_rows
from flexlam.training.pairs import load_pairs
from flexlam.training.runs import open_lam


def probes_step(data: Step, twin: Step, lam: Step, config: ProbesConfig, about: dict[str, Any]) -> Step:
    """Probes, and how codes react, at every k."""
    return Step("probes", _measure, config.model_dump(mode="json"), (data, twin, lam), about)


def _measure(step: Step, folder: Path, parents: list[Path]) -> None:
    data, twin, lam = parents
    lam_run, model = open_lam(lam / "run", choose_device("auto"))
    pairs = load_pairs(data / "store", lam_run.pairs)
    config = ProbesConfig.parse(step.settings)
    write_rows(folder, measure_probes(model, pairs, config, FrameStore.open(twin / "store"))["rows"])

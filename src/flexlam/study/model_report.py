"""The page about a model on a user's own data: what codes hold, how prefixes decode, what a translator reads."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flexlam.core.config import Config
from flexlam.core.machine import choose_device, describe_machine
from flexlam.core.run_folder import RunFolder
from flexlam.evaluate.reconstruction import ReconstructionConfig, measure_reconstruction
from flexlam.metrics.intervals import share_stderr
from flexlam.report.page import write_report
from flexlam.study.showing import prefix_sweeps, read_clips
from flexlam.training.lam import measure_health
from flexlam.training.pairs import load_pairs
from flexlam.training.runs import open_lam
from flexlam.translator.model import load_code_translator


class ModelReportConfig(Config):
    """Settings of a page about a model."""

    reconstruction: ReconstructionConfig = ReconstructionConfig()
    """How decoding is measured."""
    seed: int = 0
    """Which transitions are shown and counted."""


def report_model(
    config: ModelReportConfig, lam: Path, data: Path, out: Path, translator: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Measure a model on the test episodes of a store and write the page; returns what was measured.

    Raises:
        CheckpointError, DataError: the run, the translator or the store cannot be opened or do not fit together.
        OutputError: the page cannot be written.
    """
    lam_run, model = open_lam(lam, choose_device("auto"))
    pairs = load_pairs(data, lam_run.pairs, model.frame_shape)
    reader = None if translator is None else load_code_translator(translator, model.hash)
    run = RunFolder.open(lam, ("lam", "joint")) if (lam / "run.json").exists() else None
    health = run.read_json("health.json") if run else measure_health(model, pairs, config.seed, None, 0).to_json()
    results = {
        "schema_version": 1,
        "kind": "report",
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_hash": config.hash(),
        "data_hash": pairs.store.content_hash,
        "parent_hashes": {"lam": model.hash},
        "machine": describe_machine(),
        "tasks": list(pairs.store.tasks),
        **measure_reconstruction(model, pairs, config.reconstruction),
    }
    sweeps, clips = prefix_sweeps(model, pairs, config.seed), read_clips(model, pairs, reader)
    told = "" if translator is None else _learned(translator)
    write_report(out, results, sweeps, run.metrics() if run else [], health, clips=clips, reader=told)
    return {**results, "health": health}


def _learned(translator: Path) -> str:
    """What a translator has learned from, and how well it does on what it has not seen; nothing of a released one."""
    if not (translator / "fit.json").exists():
        return ""
    fit = RunFolder.open(translator, ("translator",)).read_json("fit.json")
    said = f"It has learned from {fit['labels']}." if "labels" in fit else ""
    if fit.get("heldout_accuracy") is not None:
        share = fit["heldout_accuracy"]
        stderr = share_stderr(share, fit["num_labels"])
        said += f" Of labels that it had not seen it tells {share:.0%} ± {stderr:.0%} right."
    return said

"""The demo: record, train, align, act, report. Every step is kept, so an interrupted demo goes on where it stopped."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flexlam.acting.recording import record
from flexlam.core.errors import OutputError
from flexlam.core.files import new_output_folder, write_text
from flexlam.core.machine import choose_device, describe_machine
from flexlam.core.progress import progress
from flexlam.data.readers import open_dataset
from flexlam.data.store_builder import build_store
from flexlam.evaluate.alignment import measure_alignment
from flexlam.evaluate.latency import measure_latency
from flexlam.evaluate.reconstruction import measure_reconstruction
from flexlam.evaluate.returns import measure_returns
from flexlam.lam.model import LatentActionModel
from flexlam.policy.autoregressive import SequenceModel
from flexlam.presets.base import Preset
from flexlam.report.page import write_report
from flexlam.study.showing import longest_episode, predicted_transitions, prefix_sweeps, rollout_clips
from flexlam.training.lam import train_lam
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.policy import train_policy
from flexlam.training.runs import open_lam
from flexlam.translator.model import save_translator


def run_demo(preset: Preset, out: Path, overwrite: bool = False, resume: bool = False) -> dict[str, Any]:
    """Run everything into a folder and return what results.json holds.

    Raises:
        OutputError: the folder is in use, or holds a demo of other settings.
    """
    _prepare(preset, out, overwrite, resume)
    recording, store, lam = out / "recording", out / "store", out / "lam"
    if not recording.exists():
        with progress(preset.recording.num_frames * len(preset.recording.tasks), "Recording", "frame") as bar:
            record(preset.recording, recording, progress=bar.update)
    if not store.exists():
        reader = open_dataset(recording)
        with progress(reader.info.num_frames or 0, "Frame store", "frame") as bar:
            build_store(reader, store, preset.store, bar.update, announce=lambda _: None)
    run = train_lam(preset.lam, store, lam, resume=(lam / "run.json").exists())
    train_policy(preset.policy, lam, store, out / "policy", resume=(out / "policy" / "run.json").exists())
    lam_run, model = open_lam(lam, choose_device("auto"))
    policy = SequenceModel.from_pretrained(out / "policy", model.hash, model.device)
    pairs = load_pairs(store, lam_run.pairs)
    acted = measure_returns(model, pairs, preset.returns, policy)
    save_translator(acted.translator, out / "translator", model.hash or "", data_hash=pairs.store.content_hash)
    results = {
        **_results(preset, model, policy, pairs),
        "returns": acted.results,
        "latency": measure_latency(model, policy, acted.translator, longest_episode(pairs), preset.latency),
    }
    write_text(out / "results.json", json.dumps(results, indent=2) + "\n")
    seed = preset.reconstruction.seed
    write_report(
        out / "report.html",
        results,
        prefix_sweeps(model, pairs, seed),
        run.metrics(),
        run.read_json("health.json"),
        clips=rollout_clips(acted, pairs),
        predictions=predicted_transitions(model, policy, pairs, seed),
    )
    return results


def _prepare(preset: Preset, out: Path, overwrite: bool, resume: bool) -> None:
    """A fresh folder, or the folder of an interrupted demo of the same settings."""
    settings = out / "preset.json"
    if resume and settings.exists():
        if json.loads(settings.read_text()) != preset.model_dump(mode="json"):
            raise OutputError(f"{out} holds a demo of other settings. Start anew with --overwrite.")
        return
    new_output_folder(out, overwrite)
    preset.save(settings)


def _results(preset: Preset, model: LatentActionModel, policy: SequenceModel, pairs: SplitPairs) -> dict[str, Any]:
    """What is measured on recordings in one table, and where it comes from."""
    alignment = measure_alignment(model, pairs, preset.alignment, policy)
    reconstruction = measure_reconstruction(model, pairs, preset.reconstruction)
    decoded = {row["k"]: row for row in reconstruction["rows"]}
    return {
        "schema_version": 1,
        "kind": "demo",
        "command": "flexlam demo",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_hash": preset.hash(),
        "data_hash": pairs.store.content_hash,
        "parent_hashes": {"lam": model.hash, "policy": policy.hash},
        "machine": describe_machine(),
        "tasks": list(pairs.store.tasks),
        **alignment,
        "decoder": reconstruction["decoder"],
        "copy": reconstruction["copy"],
        "rows": [{**decoded[row["k"]], **row} for row in alignment["rows"]],
    }

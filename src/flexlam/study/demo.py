"""The demo: record, train, align, report. Every step is kept, so an interrupted demo goes on where it stopped."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flexlam.acting.recording import record
from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.core.errors import OutputError
from flexlam.core.files import new_output_folder, write_text
from flexlam.core.machine import choose_device, describe_machine
from flexlam.core.progress import progress
from flexlam.core.seeding import numpy_generator
from flexlam.data.readers import open_dataset
from flexlam.data.store_builder import build_store
from flexlam.evaluate.alignment import measure_alignment
from flexlam.evaluate.reconstruction import measure_reconstruction
from flexlam.lam.model import LatentActionModel
from flexlam.presets.base import Preset
from flexlam.report.page import write_report
from flexlam.report.sweeps import PrefixSweep
from flexlam.training.lam import train_lam
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.runs import open_lam

_NUM_SWEEPS = 3  # pictured transitions of each task


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
    lam_run, model = open_lam(lam, choose_device("auto"))
    pairs = load_pairs(store, lam_run.pairs)
    results = _results(preset, model, pairs)
    write_text(out / "results.json", json.dumps(results, indent=2) + "\n")
    sweeps = prefix_sweeps(model, pairs, preset.reconstruction.seed)
    write_report(out / "report.html", results, sweeps, run.metrics(), run.read_json("health.json"))
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


def _results(preset: Preset, model: LatentActionModel, pairs: SplitPairs) -> dict[str, Any]:
    """Both measurements in one table, and where they come from."""
    alignment = measure_alignment(model, pairs, preset.alignment)
    reconstruction = measure_reconstruction(model, pairs, preset.reconstruction)
    decoded = {row["k"]: row for row in reconstruction["rows"]}
    return {
        "schema_version": 1,
        "kind": "demo",
        "command": "flexlam demo",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_hash": preset.hash(),
        "data_hash": pairs.store.content_hash,
        "parent_hashes": {"lam": model.hash},
        "machine": describe_machine(),
        "tasks": list(pairs.store.tasks),
        **alignment,
        "decoder": reconstruction["decoder"],
        "copy": reconstruction["copy"],
        "rows": [{**decoded[row["k"]], **row} for row in alignment["rows"]],
    }


def prefix_sweeps(model: LatentActionModel, pairs: SplitPairs, seed: int) -> list[PrefixSweep]:
    """Transitions drawn at random among the test pairs of each task that change most, decoded at every k."""
    sweeps = []
    for number, task in enumerate(pairs.test.tasks):
        rows = np.flatnonzero(pairs.test.task == number)
        rows = numpy_generator(seed, "sweeps", task).permutation(rows)[: 8 * _NUM_SWEEPS]
        batch = pairs.test.batch(pairs.store, rows, with_actions=False)
        change = (batch.next_obs.float() - batch.obs.float()).square().mean((1, 2, 3))
        chosen = change.topk(min(_NUM_SWEEPS, len(rows))).indices
        obs, next_obs = batch.obs[chosen], batch.next_obs[chosen]
        codes = model.encode(obs, next_obs)
        decoded = {k: model.decode(obs, codes, k).cpu().numpy() for k in reported_prefix_lengths(model.num_slots)}
        sweeps += [
            PrefixSweep(task, obs[i].numpy(), next_obs[i].numpy(), {k: frames[i] for k, frames in decoded.items()})
            for i in range(len(chosen))
        ]
    return sweeps

"""Make a small released model from a finished demo: bfloat16 weights, a card with measured results, example frames.

    python -m flexlam.study.release demo --out checkpoints/vizdoom-small

The figures on the card are measured again on the shrunken weights.
"""

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import tyro

from flexlam.core.errors import DataError
from flexlam.core.files import write_bytes, write_text
from flexlam.core.machine import describe_machine
from flexlam.evaluate.alignment import measure_alignment
from flexlam.evaluate.reconstruction import measure_reconstruction
from flexlam.lam.model import LatentActionModel
from flexlam.presets.base import Preset
from flexlam.report.card import CardConfig, model_card
from flexlam.report.figures import quality_figures, standalone_svg
from flexlam.report.inputs import Results
from flexlam.study.sharing import model_facts
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.runs import open_lam

_NUM_FRAMES = 9


@dataclass(frozen=True)
class Arguments:
    """Make a small released model from a finished demo."""

    demo: tyro.conf.Positional[Path]
    """Folder of the demo."""
    out: Path
    """Folder for the model."""


def release(demo: Path, out: Path) -> None:
    """Write the model bundle with its card, and frames of a test episode beside it."""
    preset = Preset.load(demo / "preset.json")
    run, model = open_lam(demo / "lam", torch.device("cpu"))
    pairs = load_pairs(demo / "store", run.pairs)
    model.save_pretrained(out, dtype=torch.bfloat16)  # with the state that it was trained with
    small = LatentActionModel.from_pretrained(out)
    results = {
        **json.loads((demo / "results.json").read_text()),
        **measure_alignment(small, pairs, preset.alignment),
        "command": f"python -m flexlam.study.release {demo.name} --out {out}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "parent_hashes": {"lam": small.hash},
    }
    decoded = {row["k"]: row for row in measure_reconstruction(small, pairs, preset.reconstruction)["rows"]}
    results["rows"] = [{**decoded[row["k"]], **row} for row in results["rows"]]
    write_text(out / "README.md", model_card(_said(preset), model_facts(run, small), str(out), [results]))
    write_text(out / "quality.svg", standalone_svg(quality_figures(Results.load(results))))
    frames = io.BytesIO()
    np.save(frames, example_frames(pairs))
    write_bytes(out / "frames.npy", frames.getvalue())


def example_frames(pairs: SplitPairs) -> np.ndarray:
    """Successive frames (9, H, W, C) of the test episode and place where much changes.

    Raises:
        DataError: no test episode is that long.
    """
    index, store = pairs.test, pairs.store
    starts = [int(s) for s in index.first[index.second - index.first == 1]]
    some = [s for s in starts[: 50 * (len(starts) // 50) : 50] if _in_one_episode(pairs, s)]
    chosen = some or [s for s in starts if _in_one_episode(pairs, s)]
    if not chosen:
        raise DataError(f"No test episode of {store.path} has {_NUM_FRAMES} frames to show. Record longer episodes.")
    clips = [store.frames(np.arange(s, s + _NUM_FRAMES)) for s in chosen]
    change = [np.abs(np.diff(clip.astype(np.int16), axis=0)).mean() for clip in clips]
    return clips[int(np.argsort(change)[len(change) * 3 // 4])]


def _in_one_episode(pairs: SplitPairs, start: int) -> bool:
    ends = pairs.store.episodes.starts + pairs.store.episodes.lengths
    return start + _NUM_FRAMES <= int(ends[np.searchsorted(ends, start, side="right")])


def _said(preset: Preset) -> CardConfig:
    recording = preset.recording
    return CardConfig(
        title="A small FlexLAM of two ViZDoom scenarios",
        license="apache-2.0",
        intended_use="For trying flexlam out, and nothing else: it knows these games only. Its weights are bfloat16.",
        data=f"{recording.num_frames:,} frames of each of {' and '.join(recording.tasks)}, scenarios of ViZDoom, "
        f"recorded with scripted experts, interrupted by random actions ({recording.noise:.0%} of decisions).",
        data_license="That of ViZDoom's scenarios and of Freedoom's pictures.",
        consent="No people, no third-party video.",
        bias="One player, two maps, no sound; experts that walk and turn, seldom anything else.",
    )


if __name__ == "__main__":
    arguments = tyro.cli(Arguments)
    release(arguments.demo, arguments.out)

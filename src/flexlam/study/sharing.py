"""Sharing a model: the folder, and a card that tells what its files and its measurements say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flexlam.core.errors import DataError, OutputError
from flexlam.core.hub import push
from flexlam.export.model import Shared, share_model
from flexlam.lam.model import LatentActionModel
from flexlam.report.card import CardConfig, ModelFacts, model_card
from flexlam.training.runs import LamRun


def export_model(
    config: CardConfig,
    run: Path,
    out: Path,
    translator: Path | None = None,
    policy: Path | None = None,
    results: Sequence[Path] = (),
    push_to: str | None = None,
    private: bool = False,
    overwrite: bool = False,
) -> str | None:
    """Write OUT, the model with what belongs to it and its card, and upload it as OWNER/NAME if told to.

    Returns the address of the upload.

    Raises:
        CheckpointError: a run is unfinished or damaged, or belongs to another model.
        ConfigError: results of another model.
        DataError: a file of results holds none.
        OutputError: OUT holds something or cannot be written, or the Hub refuses.
    """
    measured = [_read(path) for path in results]

    def card(shared: Shared) -> str:
        facts = model_facts(shared.run, shared.model, shared.parts)
        return model_card(config, facts, push_to or str(out), measured)

    share_model(run, out, card, translator, policy, overwrite)
    if push_to is None:
        return None
    try:
        return push(out, push_to, private or None)
    except OutputError as error:
        raise OutputError(f"{error} The model lies in {out}; the same command with --overwrite tries again.") from error


def model_facts(run: LamRun, model: LatentActionModel, parts: tuple[str, ...] = ()) -> ModelFacts:
    """What a card tells of a model by itself."""
    seconds = run.pairs.gap_seconds
    if seconds is None and run.frames.fps is not None:
        seconds = run.pairs.gap_steps / run.frames.fps
    health = run.path / "health.json"
    found = json.loads(health.read_text()) if health.exists() else None
    return ModelFacts(
        hash=model.hash or "",
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        num_slots=model.num_slots,
        bits_per_slot=model.bits_per_slot,
        frame_shape=model.frame_shape,
        gap=f"{run.pairs.gap_steps} step(s)" if seconds is None else f"{seconds:.3g} s",
        data_hash=run.parents.get("data", "unknown"),
        parts=parts,
        verdict=f"{found['verdict']} ({found['reason']})." if found else "",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no results ({error}). Give what flexlam eval ... --json wrote.") from error
    if not isinstance(values, dict) or "kind" not in values:
        raise DataError(f"{path} holds no results. Give what flexlam eval ... --json wrote.")
    return values

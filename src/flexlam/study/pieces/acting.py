"""Returns and decision times of agents on a model's codes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from flexlam.acting.recording import RecordingConfig
from flexlam.core.machine import choose_device
from flexlam.core.seeding import numpy_generator
from flexlam.evaluate.latency import LatencyConfig, measure_latency
from flexlam.evaluate.returns import Acted, ReturnsConfig, measure_returns
from flexlam.lam.model import LatentActionModel
from flexlam.policy.base import Policy
from flexlam.policy.model import load_policy
from flexlam.study.graph import Step, write_rows
from flexlam.study.showing import longest_episode
from flexlam.training.labelled import encode_labelled
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.runs import open_lam
from flexlam.translator.model import load_translator, save_translator

AGENT = "agent"
"""The actor's name in rows of returns; the others are called as baselines are."""
_NUM_VALIDATION = 4000


def returns_step(
    data: Step,
    lam: Step,
    policy: Step,
    recording: RecordingConfig,
    returns: ReturnsConfig,
    seed: int,
    about: dict[str, Any],
) -> Step:
    """Act where the recording was made, on episodes that every method of a LAM seed shares."""
    update = {"suite": recording.suite, "overlays": recording.overlays, "seed": seed, "num_workers": 1}
    settings = returns.model_copy(update=update).model_dump(mode="json")
    return Step("returns", _act, settings, (data, lam, policy), about)


def latency_step(
    data: Step, lam: Step, policy: Step, returns: Step, config: LatencyConfig, about: dict[str, Any]
) -> Step:
    """Time decisions of the agent that a returns step has fitted."""
    return Step("latency", _time, config.model_dump(mode="json"), (data, lam, policy, returns), about)


def _act(step: Step, folder: Path, parents: list[Path]) -> None:
    config = ReturnsConfig.parse(step.settings)
    model, policy, pairs = _open(parents)
    acted = measure_returns(model, pairs, config, policy)
    save_translator(acted.translator, folder / "translator", model.hash or "")
    losses = _validation_losses(acted, model, pairs)
    rows = []
    for task in acted.results["tasks"]:
        for row in task["rows"]:
            rows.append({"actor": AGENT, "k": row["k"], "validation_loss": losses[row["k"]], **_entry(task, row)})
        for name, row in task["baselines"].items():
            rows.append({"actor": name, **_entry(task, row)})
    write_rows(folder, rows)


def _entry(task: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a task's row."""
    kept: dict[str, Any] = {name: row[name] for name in ("return", "normalised", "num_episodes") if name in row}
    return {"task": task["task"], **kept}


@torch.inference_mode()
def _validation_losses(acted: Acted, model: LatentActionModel, pairs: SplitPairs) -> dict[int, float]:
    """The agent's translator on validation transitions, at every k that acted: label-rich, and no test episode."""
    rows = numpy_generator(0, "validation").permutation(len(pairs.validation))[:_NUM_VALIDATION]
    labelled = encode_labelled(model, pairs.store, pairs.validation, np.sort(rows))
    translator = acted.translator.cpu()
    losses = {}
    for row in acted.results["tasks"][0]["rows"]:
        outputs = translator(labelled.latents, labelled.prev_action, row["k"], labelled.obs)
        losses[row["k"]] = float(translator.codec.loss(outputs, labelled.action).mean())
    return losses


def _time(step: Step, folder: Path, parents: list[Path]) -> None:
    model, policy, pairs = _open(parents)
    translator = load_translator(parents[3] / "translator", model.hash)
    config = LatencyConfig.parse(step.settings)
    write_rows(folder, measure_latency(model, policy, translator, longest_episode(pairs), config)["rows"])


def _open(parents: list[Path]) -> tuple[LatentActionModel, Policy, SplitPairs]:
    lam_run, model = open_lam(parents[1] / "run", choose_device("auto"))
    policy = load_policy(parents[2] / "run", model.hash, model.device)
    return model, policy, load_pairs(parents[0] / "store", lam_run.pairs, model.frame_shape)

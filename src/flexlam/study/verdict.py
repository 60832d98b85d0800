"""Does the verdict on the codes foretell how well they align? Models good and bad, each judged without labels first.

    python -m flexlam.study.verdict STORE --out results/verdict

A finished model is never trained again, so the study can be interrupted and continued.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import nn

from flexlam.core import catalog
from flexlam.core.files import write_text
from flexlam.core.machine import describe_machine
from flexlam.data.labels import LabelBudget
from flexlam.evaluate.alignment import AlignmentConfig, measure_alignment
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.report.table import Table, with_stderr
from flexlam.training.lam import LamRunConfig, train_lam
from flexlam.training.pairs import load_pairs
from flexlam.training.runs import open_lam

_LOOP = {"evaluate_every": 100, "checkpoint_every": 100, "trackers": []}
ALIGNMENT = AlignmentConfig(labels=LabelBudget(count=256), num_draws=4, idm_draws=0)
_FLOW = {"name": "flow", "patch_size": 16}

# name -> overrides of the base settings.
VARIANTS: dict[str, dict[str, Any]] = {
    "25 steps": {"training": {"num_steps": 25, "evaluate_every": 5}},
    "100 steps": {"training": {"num_steps": 100, "evaluate_every": 20}},
    "300 steps": {"training": {"num_steps": 300}},
    "600 steps": {"training": {"num_steps": 600}},
    "600 steps, seed 1": {"training": {"num_steps": 600, "seed": 1}},
    "600 steps, K = 4": {"lam": {"num_slots": 4}, "training": {"num_steps": 600}},
    "600 steps, Fixed-K 1": {"lam": {"num_slots": 1, "prefix_sampling": "full"}, "training": {"num_steps": 600}},
    "600 steps, Fixed-K 16": {"lam": {"prefix_sampling": "full"}, "training": {"num_steps": 600}},
    "tiny vocabulary [3, 3], 400 steps": {
        "lam": {"quantizer": {"name": "fsq", "levels": [3, 3]}},
        "training": {"num_steps": 400},
    },
    "learning rate 1e-5": {"training": {"num_steps": 300, "optimizer": {"learning_rate": 1e-5}}},
    "learning rate 0.1, no standardisation": {
        "lam": {"quantizer": {"name": "fsq", "normalize": "none"}},
        "training": {"num_steps": 300, "optimizer": {"learning_rate": 0.1}},
    },
    "blind registers, no standardisation": {
        "lam": {"quantizer": {"name": "fsq", "normalize": "none"}, "encoder": {"name": "blind"}},
        "training": {"num_steps": 300},
    },
    "flow decoder, 600 steps": {"lam": {"decoder": _FLOW}, "training": {"num_steps": 600}},
    "flow decoder, no pure noise": {
        "lam": {"decoder": {**_FLOW, "pure_noise_share": 0.0, "time_mean": -3.0}},
        "training": {"num_steps": 300},
    },
}


class BlindRegisters(PairEncoder):
    """Blocks that start as the identity: the registers read nothing of the picture at first."""

    class Config(PairEncoder.Config):
        """Settings of the pair encoder, under a name of its own."""

        name: str = "blind"  # type: ignore[assignment]

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], num_slots: int, slot_dim: int) -> None:
        super().__init__(config, frame_shape, num_slots, slot_dim)
        for name, parameter in self.blocks.named_parameters():
            if "attention.out" in name or "mlp.2" in name:
                nn.init.zeros_(parameter)


@dataclass(frozen=True)
class Arguments:
    """Judge models good and bad without labels, then align them."""

    store: tyro.conf.Positional[Path]
    """Frame store with actions."""
    out: Path
    """Folder for runs and results."""


def run(store: Path, out: Path, alignment: AlignmentConfig = ALIGNMENT) -> dict[str, Any]:
    """Train, judge and align every variant; returns what results.json holds."""
    catalog.CATALOG["encoder"]["blind"] = "flexlam.study.verdict:BlindRegisters"
    places = {name: out / "runs" / name.replace(" ", "-").replace(",", "") for name in VARIANTS}
    rows = [_measure(name, store, place, alignment) for name, place in places.items()]
    rows.sort(key=lambda row: row["action_loss"])
    results = {
        "schema_version": 1,
        "kind": "verdict",
        "command": "python -m flexlam.study.verdict",
        "machine": describe_machine(),
        "rows": rows,
    }
    write_text(out / "results.json", json.dumps(results, indent=2) + "\n")
    write_text(out / "table.md", table(rows).to_markdown() + "\n")
    return results


def table(rows: list[dict[str, Any]]) -> Table:
    """One row a model, best aligned first."""
    header = ("model", "verdict", "median perplexity", "shuffle ratio", "error / copy", "action loss, k = K", "k = 0")
    return Table(
        header,
        (
            tuple(
                (
                    row["name"],
                    row["verdict"],
                    f"{row['median_perplexity']:.1f}",
                    f"{row['shuffle_ratio']:.2f}",
                    f"{row['error_over_copy']:.3f}",
                    with_stderr(row["action_loss"], row["action_loss_stderr"], 3),
                    f"{row['k0_loss']:.3f}",
                )
                for row in rows
            ),
        ),
    )


def _measure(name: str, store: Path, out: Path, alignment: AlignmentConfig) -> dict[str, Any]:
    config = LamRunConfig.parse(_merge(_base(), VARIANTS[name]))
    if not (out / "model" / "manifest.json").exists():
        train_lam(config, store, out, resume=(out / "run.json").exists())
    lam_run, model = open_lam(out, torch.device("cpu"))
    health = json.loads((out / "health.json").read_text())
    settings = alignment.model_copy(update={"prefix_lengths": (0, model.num_slots)})
    aligned = measure_alignment(model, load_pairs(store, lam_run.pairs), settings)
    perplexities = sorted(slot["perplexity"] for slot in health["slots"])
    curve = health["prefix_curve"]
    return {
        "name": name,
        "verdict": health["verdict"],
        "reason": health["reason"],
        "median_perplexity": perplexities[len(perplexities) // 2],
        "shuffle_ratio": health["shuffle_ratio"],
        "error_over_copy": curve[str(model.num_slots)],
        "action_loss": aligned["rows"][-1]["action_loss"],
        "action_loss_stderr": aligned["rows"][-1]["action_loss_stderr"],
        "k0_loss": aligned["rows"][0]["action_loss"],
    }


def _base() -> dict[str, Any]:
    config = LamRunConfig().model_dump(mode="json")
    return _merge(config, {"training": _LOOP, "lam": {"decoder": {"patch_size": 16}}})


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        nested = isinstance(change, dict) and isinstance(values.get(key), dict) and "name" not in change
        merged[key] = _merge(values[key], change) if nested else change
    return merged


if __name__ == "__main__":
    arguments = tyro.cli(Arguments)
    print(table(run(arguments.store, arguments.out)["rows"]).to_text())

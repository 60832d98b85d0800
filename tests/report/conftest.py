"""Made-up inputs of the size of a demo's."""

import copy
from typing import Any

import numpy as np
import pytest

from flexlam.report.sweeps import PrefixSweep

LENGTHS = (0, 1, 2, 4)
_RESULTS: dict[str, Any] = {
    "schema_version": 1,
    "kind": "demo",
    "command": ["flexlam", "demo", "--out", "my demo"],
    "config_hash": "3f9a0c11d2e4b7a8",
    "data_hash": "b1c2d3e4f5a60718",
    "parent_hashes": {"lam": "77aa12bc90de34f1"},
    "machine": {"processor": "Example 9000", "cores": 2, "accelerator": None},
    "created": "2025-11-20T10:14:03+00:00",
    "rows": [
        {
            "k": k,
            "bits": 10.0 * k,
            "psnr": 25.0 + k / 2,
            "ssim": 0.8,
            "action_loss": 1.6 - k / 20,
            "action_loss_stderr": 0.01,
            "action_accuracy": 0.5 + k / 50,
            "action_accuracy_stderr": 0.005,
        }
        for k in LENGTHS
    ],
    "baselines": {
        "previous_action": {"action_loss": 1.5, "action_accuracy": 0.54},
        "repeat_previous": {"action_accuracy": 0.53},
        "idm": {"action_loss": 1.57, "action_loss_stderr": 0.02, "action_accuracy": 0.52},
        "k0": {"action_loss": 1.62, "action_accuracy": 0.5},
        "shuffled": {"action_loss": 1.66, "action_accuracy": 0.49},
    },
    "translator": "prefix-sampled",
    "decoder": "regression",
    "num_labels": 256,
    "num_draws": 8,
    "tasks": ["basic", "my_way_home"],
    "something_new": {"that": "nobody knows"},
}


@pytest.fixture
def results() -> dict[str, Any]:
    return copy.deepcopy(_RESULTS)


@pytest.fixture
def sweeps() -> list[PrefixSweep]:
    rng = np.random.default_rng(0)
    obs, next_obs = rng.integers(0, 256, (2, 20, 32, 3), dtype=np.uint8)
    near = {k: (next_obs + (obs.astype(float) - next_obs) / (k + 2)).astype(np.uint8) for k in LENGTHS}
    return [PrefixSweep("basic", obs, next_obs, near)]


@pytest.fixture
def metrics() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"step": step, "loss": 1 / step} for step in range(10, 60, 10)]
    rows += [{"step": step, **{f"validation/psnr_k{k}": 25.0 + k for k in LENGTHS}} for step in (20, 40)]
    return rows


@pytest.fixture
def health() -> dict[str, Any]:
    slots = [{"slot": n, "codes_used": 90 + n, "perplexity": 40.0 + n, "bits": 5.3} for n in range(1, 5)]
    return {
        "verdict": "ready to align",
        "reason": "codes are used",
        "slots": slots,
        "bits_used": 21.2,
        "bits_nominal": 39.9,
        "prefix_curve": {str(k): 1 / (k + 1) for k in LENGTHS},
        "shuffle_ratio": 1.6,
    }

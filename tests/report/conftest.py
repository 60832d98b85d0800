"""Made-up inputs of the size of a demo's."""

import copy
from typing import Any

import numpy as np
import pytest

from flexlam.report.clips import RolloutClip
from flexlam.report.predictions import PredictedTransition
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


def _score(mean: float, stderr: float = 10.0) -> dict[str, Any]:
    normalised = {"normalised": (mean - 400) / 1600, "normalised_stderr": stderr / 1600}
    return {"return": mean, "return_stderr": stderr, **normalised, "episode_returns": [mean, mean]}


@pytest.fixture
def returns() -> dict[str, Any]:
    pairs = {"random": 1400.0, "best_blind": 1100.0, "k0": 1350.0, "shuffled": 15.0}
    comparisons: dict[str, dict[str, Any]] = {
        name: {"difference": difference, "stderr": 10.0, "in_stderrs": difference / 10, "num_episodes": 50}
        for name, difference in pairs.items()
    }
    comparisons["best_blind"]["which"] = "markov"
    means = {"expert": 2000.0, "random": 400.0, "markov": 700.0, "constant": 380.0, "shuffled": 1785.0, "k0": 450.0}
    rivals = {"cloning_same_labels": 900.0, "cloning": 1900.0}
    task = {
        "task": "basic",
        "num_episodes": 50,
        "reference": {"expert": 2010.0, "random": 410.0, "time": "today"},
        "rows": [{"k": 4, **_score(1800.0)}, {"k": 0, **_score(450.0)}, {"k": 1, **_score(1500.0)}],
        "baselines": {name: _score(mean) for name, mean in (means | rivals).items()},
        "comparisons": comparisons,
    }
    plain = {"return": 0.4, "return_stderr": 0.05, "normalised": None, "normalised_stderr": None}
    other = {
        "task": "my_way_home",
        "num_episodes": 50,
        "reference": None,
        "rows": [{"k": 0, **plain}, {"k": 4, **plain}],
    }
    rule = {"num_samples": 8, "codes": "sample"}
    return {"num_labels": 256, "rule": rule, "translator": "hourglass", "tasks": [task, other]}


@pytest.fixture
def latency() -> dict[str, Any]:
    parts = {"prepare": 0.1, "encode": 0.5, "context": 0.8}
    rows = [
        {"k": k, "mean_ms": 1.5 + k, "p50_ms": 1.4 + k, "p95_ms": 2.0 + k, "p99_ms": 2.5 + k}
        | {"parts_ms": {**parts, "generate": k + 0.1}}
        for k in (4, 1, 0)
    ]
    fit = {"c_ms": 1.5, "b_ms": 1.01, "fitted_on": [1, 4]}
    return {"rows": rows, "fit": fit, "num_warmup": 20, "num_steps": 100, "num_samples": 8}


@pytest.fixture
def clip() -> RolloutClip:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (12, 20, 32, 3), dtype=np.uint8)
    codes = rng.integers(0, 1000, (12, 4))
    return RolloutClip("basic", "agent, k = 4", frames, codes, ["forward+turn_left"] * 12, 93.5)


@pytest.fixture
def prediction(sweeps: list[PrefixSweep]) -> PredictedTransition:
    sweep = sweeps[0]
    predicted = {4: sweep.decoded[4], 1: sweep.obs}
    return PredictedTransition("basic", sweep.obs, sweep.next_obs, sweep.decoded[2], predicted)

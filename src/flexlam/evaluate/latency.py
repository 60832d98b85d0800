"""How long a decision takes at every prefix length, by the protocol of FlexLAM App. B.6, and c + b k fitted to it.

One environment, the context full before anything counts. The prefix lengths take turns at every step, so that a slow
spell of the machine falls on all of them.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field

from flexlam.acting.agent import Agent, DrawRule
from flexlam.core.config import Config
from flexlam.core.errors import DataError
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.lam.model import LatentActionModel
from flexlam.policy.base import Policy
from flexlam.translator.serving import Translator


class LatencyConfig(Config):
    """Settings of a latency measurement."""

    prefix_lengths: tuple[int, ...] = ()
    """The k to report; empty means 1, 2, 4, ... and K, as far as the translator serves them."""
    num_warmup: int = Field(default=20, ge=0)
    """Decisions that are not timed, after the context is full."""
    num_steps: int = Field(default=100, ge=1)
    """Timed decisions of each k in a round."""
    num_repeats: int = Field(default=1, ge=1)
    """Rounds, one after another; figures are over all of them."""
    rule: DrawRule = DrawRule()
    """How a decision is drawn: every code sample takes its time."""
    seed: int = 0
    """Random numbers of the draws."""


class Stopwatch:
    """Seconds of each decision of one agent, and of its parts."""

    def __init__(self, agent: Agent, synchronize: Callable[[], None]) -> None:
        self.agent, self.seconds, self.parts = agent, list[float](), dict[str, list[float]]()
        self._synchronize = synchronize
        self._last = 0.0
        agent.on_part = self._note

    def decide(self, frame: np.ndarray) -> None:
        """One decision."""
        self._synchronize()
        began = self._last = time.perf_counter()
        self.agent.act(frame)
        self._synchronize()
        self.seconds.append(time.perf_counter() - began)

    def clear(self) -> None:
        """Forget what was timed so far."""
        self.seconds.clear()
        self.parts.clear()

    def row(self, k: int) -> dict[str, Any]:
        """Milliseconds, as in results.json."""
        milliseconds = 1e3 * np.array(self.seconds)
        p50, p95, p99 = (float(x) for x in np.percentile(milliseconds, (50, 95, 99)))
        parts = {name: 1e3 * float(np.mean(values)) for name, values in self.parts.items()}
        mean = float(milliseconds.mean())
        return {"k": k, "mean_ms": mean, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "parts_ms": parts}

    def _note(self, part: str) -> None:
        self._synchronize()
        now = time.perf_counter()
        self.parts.setdefault(part, []).append(now - self._last)
        self._last = now


def measure_latency(
    lam: LatentActionModel,
    policy: Policy,
    translator: Translator,
    frames: np.ndarray,
    config: LatencyConfig,
) -> dict[str, Any]:
    """Milliseconds of whole decisions and of their parts at every k, and c + b k fitted to the means.

    `frames` (T, H, W, C) uint8 are those of a recorded episode; they begin again when they run out.

    Raises:
        ConfigError: a k that model or translator cannot serve.
        DataError: no frames, or frames of another size or type than the model was trained on.
        CheckpointError: the parts do not belong together.
    """
    if frames.ndim != 4 or not len(frames):
        raise DataError(f"frames have shape {frames.shape}; expected at least one, (T, H, W, C). Give a whole episode.")
    lengths = _lengths(config, lam, translator)
    watches = {k: Stopwatch(_agent(lam, policy, translator, k, config), _synchronizer(lam.device)) for k in lengths}
    episode = itertools.cycle(frames)
    _fill(watches, episode, policy.context_frames)
    for _ in range(config.num_warmup):
        _step(watches, next(episode), 0)
    for watch in watches.values():
        watch.clear()
    for number in range(config.num_repeats * config.num_steps):
        _step(watches, next(episode), number)
    rows = [watch.row(k) for k, watch in watches.items()]
    return {
        "rows": rows,
        "fit": fit_latency({row["k"]: row["mean_ms"] for row in rows}),
        "num_warmup": config.num_warmup,
        "num_steps": config.num_steps,
        "num_samples": config.rule.num_samples if policy.draws and config.rule.codes == "sample" else 1,
        "context_frames": policy.context_frames,
        "num_slots": lam.num_slots,
    }


def fit_latency(milliseconds: Mapping[int, float]) -> dict[str, Any] | None:
    """c and b of c + b k by least squares over k ≥ 1; None where fewer than two were measured.

    k = 0 is left out: without codes nothing is drawn, and no head is evaluated.
    """
    fitted_on = sorted(k for k in milliseconds if k >= 1)
    if len(fitted_on) < 2:
        return None
    b, c = np.polyfit(fitted_on, [milliseconds[k] for k in fitted_on], 1)
    return {"c_ms": float(c), "b_ms": float(b), "fitted_on": fitted_on}


def _lengths(config: LatencyConfig, lam: LatentActionModel, translator: Translator) -> tuple[int, ...]:
    lengths = check_prefix_lengths(config.prefix_lengths, lam.num_slots)
    return lengths if config.prefix_lengths else tuple(k for k in lengths if k > 0 and k in translator.served)


def _agent(lam: LatentActionModel, policy: Policy, translator: Translator, k: int, config: LatencyConfig) -> Agent:
    agent = Agent(lam, policy, translator, k, config.rule)
    agent.reset(seed=config.seed)
    return agent


def _fill(watches: Mapping[int, Stopwatch], episode: "itertools.cycle[np.ndarray]", num_frames: int) -> None:
    """See a whole window of frames, deciding with the shortest prefix: the history is the same for every k."""
    for _ in range(num_frames):
        frame = next(episode)
        for k, watch in watches.items():
            watch.agent.prefix_length = min(watches)
            watch.decide(frame)
            watch.agent.prefix_length = k


def _step(watches: Mapping[int, Stopwatch], frame: np.ndarray, number: int) -> None:
    """One decision of each agent; another one begins at every step."""
    order = list(watches.values())
    for watch in order[number % len(order) :] + order[: number % len(order)]:
        watch.decide(frame)


def _synchronizer(device: torch.device) -> Callable[[], None]:
    """Waits until a GPU has done what it was given: only then does a clock mean anything."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None

"""The protocol: what is counted, in which order, with which context. No test looks at how long anything took."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flexlam.acting.agent import Agent, DrawRule
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.seeding import numpy_generator, seeded_torch
from flexlam.evaluate import latency
from flexlam.evaluate.latency import LatencyConfig, fit_latency, measure_latency
from flexlam.lam.model import LatentActionModel
from flexlam.nn.causal import CausalConfig
from flexlam.policy.autoregressive import SequenceModel
from flexlam.report.inputs import Latency
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.model import build_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixSampledTranslator, Translator
from tiny import ENCODER, REGRESSION

SHAPE, CONTEXT = (16, 16, 3), 5
PARTS = ["prepare", "encode", "context", "generate", "fill", "translate"]
Parts = tuple[LatentActionModel, SequenceModel, Translator]


def build(translator: TranslatorConfig) -> Parts:
    with seeded_torch(0, "parts"):
        lam = LatentActionModel(LatentActionModel.Config(num_slots=4, encoder=ENCODER, decoder=REGRESSION), SHAPE)
        size = CausalConfig(dim=16, depth=1, num_heads=2, num_key_heads=1, head_dim=8, hidden_dim=16)
        config = SequenceModel.Config(context_frames=CONTEXT, stride=2, patch_size=8, transformer=size)
        policy = SequenceModel(config, SHAPE, 4, lam.quantizer.codebook_size)
        spec = ActionSpec(num_choices=(3,))
        return lam, policy, build_translator(translator, spec, lam.prefix.null_latent, 4)


@pytest.fixture(scope="module")
def parts() -> Parts:
    return build(PrefixSampledTranslator.Config())


def episode(length: int = 7) -> np.ndarray:
    return numpy_generator(0, "frames").integers(0, 256, (length, *SHAPE), dtype=np.uint8)


def config(**changes: object) -> LatencyConfig:
    return LatencyConfig.parse({"num_warmup": 2, "num_steps": 6, "rule": {"num_samples": 3}} | changes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Time that passes only where a test says so."""
    now = {"seconds": 0.0}
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now["seconds"])
    return now


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, bytes]]]:
    """Prefix length and frame of every decision."""
    found: list[tuple[int, bytes]] = []
    original = Agent.act

    def act(self: Agent, frames: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        found.append((self.prefix_length, frames.tobytes()))
        return original(self, frames, active)

    monkeypatch.setattr(Agent, "act", act)
    yield found


def test_results_have_the_shape_that_the_page_reads(parts: Parts) -> None:
    results = measure_latency(*parts, episode(), config())
    assert list(results) == ["rows", "fit", "num_warmup", "num_steps", "num_samples", "context_frames", "num_slots"]
    assert [row["k"] for row in results["rows"]] == [1, 2, 4]
    assert list(results.values())[2:] == [2, 6, 3, CONTEXT, 4]
    for row in results["rows"]:
        assert list(row) == ["k", "mean_ms", "p50_ms", "p95_ms", "p99_ms", "parts_ms"]
        assert list(row["parts_ms"]) == PARTS
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert 0 < sum(row["parts_ms"].values()) <= row["mean_ms"]
    assert results["fit"]["fitted_on"] == [1, 2, 4]
    assert Latency.parse(results, "the latency").fit is not None


def test_the_context_is_full_before_anything_else_and_the_lengths_take_turns(
    parts: Parts, decided: list[tuple[int, bytes]]
) -> None:
    frames = episode()
    measure_latency(*parts, frames, config(num_repeats=2, prefix_lengths=(2, 4)))
    turns = [decided[at : at + 2] for at in range(0, len(decided), 2)]
    assert len(turns) == CONTEXT + 2 + 2 * 6
    for step, turn in enumerate(turns):
        assert {frame for _, frame in turn} == {frames[step % len(frames)].tobytes()}, "the episode begins again"
        lengths = [k for k, _ in turn]
        assert lengths == [2, 2] if step < CONTEXT else sorted(lengths) == [2, 4]
    assert {turn[0][0] for turn in turns[CONTEXT + 2 :]} == {2, 4}, "another one begins at every step"


def test_only_timed_decisions_count(
    parts: Parts, clock: dict[str, float], decided: list[tuple[int, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions take k ms once the context is full and the warm-up over, and a second before that."""
    original = Agent._translate

    def translate(self: Agent, *arguments: object) -> np.ndarray:
        timed = len(decided) > 2 * (CONTEXT + 2)
        clock["seconds"] += 1e-3 * (5 + 2 * self.prefix_length) if timed else 1.0
        return original(self, *arguments)

    monkeypatch.setattr(Agent, "_translate", translate)
    results = measure_latency(*parts, episode(), config(prefix_lengths=(1, 4)))
    for row, expected in zip(results["rows"], (7.0, 13.0), strict=True):
        for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms"):
            assert row[name] == pytest.approx(expected)
        assert row["parts_ms"] == pytest.approx(dict.fromkeys(PARTS, 0.0) | {"translate": expected}, abs=1e-9)
    assert results["fit"] == {"c_ms": pytest.approx(5), "b_ms": pytest.approx(2), "fitted_on": [1, 4]}


def test_a_clock_waits_for_the_device(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[None] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(None))
    wait = latency._synchronizer(torch.device("cuda"))
    agent = Agent(*parts, 1, DrawRule(num_samples=1))
    agent.reset()
    watch = latency.Stopwatch(agent, wait)
    watch.decide(episode()[0])
    assert len(waits) == len(PARTS) + 2, "before a decision, after each part and after all"
    latency._synchronizer(torch.device("cpu"))()
    assert len(waits) == len(PARTS) + 2


def test_the_line_leaves_out_k0_and_needs_two_points() -> None:
    assert fit_latency({0: 0.0, 1: 3.0, 5: 11.0, 9: 19.0}) == {
        "c_ms": pytest.approx(1.0),
        "b_ms": pytest.approx(2.0),
        "fitted_on": [1, 5, 9],
    }
    assert fit_latency({0: 1.0, 4: 3.0}) is None


def test_k0_can_be_measured_and_only_served_lengths_are_by_default(parts: Parts) -> None:
    rows = measure_latency(*parts, episode(), config(prefix_lengths=(0, 4), num_steps=1))["rows"]
    assert [row["k"] for row in rows] == [0, 4]
    others = build(PerPrefixTranslator.Config(prefix_lengths=(0, 1, 4)))
    rows = measure_latency(*others, episode(), config(num_steps=1))["rows"]
    assert [row["k"] for row in rows] == [1, 4]


def test_what_cannot_be_measured_is_refused(parts: Parts) -> None:
    with pytest.raises(ConfigError, match="prefix_length is 5"):
        measure_latency(*parts, episode(), config(prefix_lengths=(5,)))
    with pytest.raises(DataError, match="expected at least one"):
        measure_latency(*parts, episode(0), config())
    with pytest.raises(DataError, match="expected uint8"):
        measure_latency(*parts, episode()[:, :8], config())

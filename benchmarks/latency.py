"""Milliseconds of a decision, on one CPU thread: `python benchmarks/latency.py`.

Three tables. A line fitted on three prefix lengths against two others; the same weights decoded by this package and by
transformers' Qwen3Model with its static cache (needs transformers); memory and time over many steps of one agent.
What is compared takes turns at every step. Weights are random: no time depends on their values.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flexlam.acting.agent import Agent, DrawRule
from flexlam.bottleneck.fsq import FSQ
from flexlam.core.action import ActionSpec
from flexlam.core.files import write_text
from flexlam.core.machine import describe_machine, single_thread
from flexlam.core.seeding import numpy_generator, seeded_torch, torch_generator
from flexlam.evaluate.latency import LatencyConfig, fit_latency, measure_latency
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.nn.causal import CausalConfig
from flexlam.nn.sampling import pick
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.context import window_start
from flexlam.policy.decoding import Decoding
from flexlam.report.table import Table
from flexlam.translator.model import build_translator
from flexlam.translator.serving import PrefixSampledTranslator, Translator

FRAME_SHAPE = (64, 64, 3)
FITTED, PREDICTED = (1, 4, 32), (16, 64)


@dataclass(frozen=True)
class Effort:
    """Sizes, and how long to measure."""

    num_slots: int
    transformer: CausalConfig
    levels: tuple[int, ...]
    fitted: tuple[int, ...]
    predicted: tuple[int, ...]
    num_warmup: int
    num_steps: int
    compared: tuple[tuple[int, int], ...]
    """Codes and draws of the decisions that are compared with transformers."""
    num_compared_steps: int
    num_long_steps: int


FULL = Effort(
    num_slots=64,
    transformer=CausalConfig(dim=256, depth=6, num_heads=4, num_key_heads=2, head_dim=64, hidden_dim=768),
    levels=(7, 5, 5, 5, 5),
    fitted=FITTED,
    predicted=PREDICTED,
    num_warmup=20,
    num_steps=100,
    compared=((16, 8), (64, 8), (16, 1)),
    num_compared_steps=16,
    num_long_steps=10_000,
)
QUICK = Effort(
    num_slots=4,
    transformer=CausalConfig(dim=32, depth=2, num_heads=4, num_key_heads=2, head_dim=8, hidden_dim=48),
    levels=(5, 5),
    fitted=(1, 2),
    predicted=(3, 4),
    num_warmup=1,
    num_steps=3,
    compared=((4, 3), (4, 1)),
    num_compared_steps=9,
    num_long_steps=300,
)


def parts(
    num_slots: int, transformer: CausalConfig, levels: tuple[int, ...]
) -> tuple[LatentActionModel, SequenceModel, Translator]:
    """A model, a policy and a translator that belong together, with random weights."""
    dim = transformer.dim
    config = LatentActionModel.Config(
        num_slots=num_slots,
        encoder=PairEncoder.Config(patch_size=16, dim=dim, depth=2, num_heads=4),
        quantizer=FSQ.Config(levels=levels),
        decoder=RegressionDecoder.Config(patch_size=16, dim=32, depth=1, num_heads=2),
    )
    with seeded_torch(0, "bench"):
        lam = LatentActionModel(config, FRAME_SHAPE).eval()
        size = SequenceModel.Config(context_frames=34, stride=8, patch_size=16, transformer=transformer)
        policy = SequenceModel(size, FRAME_SHAPE, num_slots, lam.quantizer.codebook_size).eval()
        torch.nn.init.normal_(policy.head.weight, std=dim**-0.5)
        spec = ActionSpec(num_choices=(6,))
        translator = build_translator(PrefixSampledTranslator.Config(), spec, lam.prefix.null_latent, num_slots)
    return lam, policy, translator.eval()


def noise(length: int) -> np.ndarray:
    return numpy_generator(0, "bench").integers(0, 256, (length, *FRAME_SHAPE), dtype=np.uint8)


def predict(effort: Effort) -> tuple[Table, list[dict[str, Any]]]:
    """Fit c + b k on some prefix lengths, and compare it with what others took."""
    lengths = tuple(sorted(effort.fitted + effort.predicted))
    config = LatencyConfig(prefix_lengths=lengths, num_warmup=effort.num_warmup, num_steps=effort.num_steps)
    results = measure_latency(*parts(effort.num_slots, effort.transformer, effort.levels), noise(64), config)
    means = {row["k"]: row["mean_ms"] for row in results["rows"]}
    fit = fit_latency({k: means[k] for k in effort.fitted})
    assert fit is not None
    rows = []
    for row in results["rows"]:
        line = fit["c_ms"] + fit["b_ms"] * row["k"]
        rows.append(row | {"line_ms": line, "error": line / row["mean_ms"] - 1, "fitted": row["k"] in effort.fitted})
    lines = [
        (
            str(row["k"]),
            *(f"{row[name]:.1f}" for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "line_ms")),
            "fitted" if row["fitted"] else f"{row['error']:+.1%}",
        )
        for row in rows
    ]
    header = ("k", "mean ms", "p50", "p95", "p99", f"{fit['c_ms']:.1f} + {fit['b_ms']:.2f} k", "error")
    return Table(header, (tuple(lines),)), rows


class StaticCacheDecoding:
    """What `Decoding` does for one row, by transformers' Qwen3Model and its StaticCache.

    Nothing that is cached is computed again: rolling back sets the length of the cache, and draws lie side by side
    under a tree-shaped mask. Masks are made once and handed over ready, so that the library builds none; where a window
    is computed anew there is none, and the library's causal kernel is used. The cache is as long as the longest window
    needs it for k codes. With `trimmed`, every pass sees a view of the cache that ends where the tokens do, which the
    library does not offer.
    """

    def __init__(self, model: SequenceModel, k: int, num_samples: int, attention: str, trimmed: bool = False) -> None:
        from transformers import Qwen3Config, Qwen3Model, StaticCache

        size = model.config.transformer
        config = Qwen3Config(
            vocab_size=1,
            hidden_size=size.dim,
            num_hidden_layers=size.depth,
            num_attention_heads=size.num_heads,
            num_key_value_heads=size.num_key_heads,
            head_dim=size.head_dim,
            intermediate_size=size.hidden_dim,
            rms_norm_eps=size.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": size.rope_theta},
            attn_implementation=attention,
            bos_token_id=None,
            eos_token_id=None,
        )
        self.model, self.k, self.num_samples = model, k, num_samples
        self.eager, self.trimmed = attention == "eager", trimmed
        self.qwen = Qwen3Model(config).eval()
        weights = {name: tensor.contiguous() for name, tensor in model.transformer.state_dict().items()}
        self.qwen.load_state_dict({**weights, "embed_tokens.weight": self.qwen.embed_tokens.weight})
        self.capacity = model.max_trunk + model.num_patches + (k - 1) * num_samples
        self.cache = StaticCache(config=config, max_cache_len=self.capacity)
        self.cache.early_initialization(1, size.num_key_heads, size.head_dim, torch.float32, torch.device("cpu"))
        self.whole = [(layer.keys, layer.values) for layer in self.cache.layers]
        self.earlier = self._mask(torch.ones(self.capacity, self.capacity, dtype=torch.bool).tril())
        self.step, self.start, self.length, self.base = -1, 0, 0, 0
        self.codes: list[Tensor] = []
        self.anchors: dict[int, Tensor] = {}

    def observe(self, images: Tensor, codes: Tensor) -> Tensor:
        """The newest frame, and the codes of the transition to it."""
        model, config = self.model, self.model.config
        frame = model.embed_images(images)
        self.step += 1
        if self.step > 0:
            self.codes.append(codes)
        if self.step % config.stride == 0:
            self.anchors[self.step] = frame
        start = window_start(self.step, config.context_frames, config.stride)
        if self.step == 0 or start != self.start:
            self.start, first = start, 0
            tokens = self._window(frame)
        else:
            tokens, first = torch.cat([model.embed_codes(codes), frame], 1), self.length
        self.base = first + tokens.shape[1]
        self.length = self.base if self.step % config.stride == 0 else self.base - model.num_patches
        mask = None if first == 0 and not self.eager else self.earlier[first : self.base][None, None]
        return self._pass(tokens, first, torch.arange(first, self.base)[None], mask)[:, -1]

    def draw(self, hidden: Tensor, uniforms: Tensor) -> Tensor:
        """k codes, drawn side by side by the same numbers as in `Decoding.draw`."""
        count = self.num_samples
        codes = torch.zeros(1, count, self.k, dtype=torch.long)
        states, own = hidden[:, None].expand(-1, count, -1), torch.arange(count)
        mask = self._mask(torch.arange(self.capacity)[None] < torch.full((count, 1), self.base))[None, None]
        for slot in range(self.k):
            if slot > 0:
                first = self.base + (slot - 1) * count
                mask[0, 0, own, first + own] = 0.0 if self.eager else True
                tokens = self.model.embed_codes(codes[..., slot - 1 : slot], slot - 1)[:, :, 0]
                positions = torch.full((1, count), self.base + slot - 1)
                states = self._pass(tokens, first, positions, None if self.trimmed and count == 1 else mask)
            codes[..., slot] = pick(self.model.head(states).float(), uniforms[..., slot])
        return codes

    def _window(self, frame: Tensor) -> Tensor:
        tokens = []
        for step in range(self.start, self.step):
            if step % self.model.config.stride == 0:
                tokens.append(self.anchors[step])
            tokens.append(self.model.embed_codes(self.codes[step]))
        return torch.cat([*tokens, frame], 1)

    def _pass(self, tokens: Tensor, first: int, positions: Tensor, mask: Tensor | None) -> Tensor:
        end = first + tokens.shape[1]
        for layer, (keys, values) in zip(self.cache.layers, self.whole, strict=True):
            layer.cumulative_length.fill_(first)
            if self.trimmed:
                layer.keys, layer.values = keys[:, :, :end], values[:, :, :end]
        if self.trimmed and mask is not None:
            mask = mask[..., :end]
        out = self.qwen(
            inputs_embeds=tokens,
            position_ids=positions,
            attention_mask={"full_attention": mask},
            past_key_values=self.cache,
            use_cache=True,
        )
        return out.last_hidden_state

    def _mask(self, seen: Tensor) -> Tensor:
        """Booleans for the fused kernel, what is added to the scores for the other."""
        return torch.where(seen, 0.0, torch.finfo(torch.float32).min) if self.eager else seen


NAMES = ("flexlam", "transformers, sdpa", "transformers, eager", "transformers, sdpa, trimmed by hand")


@torch.inference_mode()
def compare(effort: Effort, k: int, num_samples: int) -> list[dict[str, Any]]:
    """CPU milliseconds of decisions (context and codes) of a full window, moves of the window included."""
    _, model, _ = parts(effort.num_slots, effort.transformer, effort.levels)
    ours = Decoding(model, 1, num_samples)
    theirs = [
        StaticCacheDecoding(model, k, num_samples, "sdpa"),
        StaticCacheDecoding(model, k, num_samples, "eager"),
        StaticCacheDecoding(model, k, num_samples, "sdpa", trimmed=True),
    ]
    spent: list[list[float]] = [[] for _ in NAMES]
    equal: list[list[float]] = [[] for _ in NAMES]
    generator = torch_generator(0, "bench", "compare")
    num_fill = model.config.context_frames + 2
    for step in range(num_fill + effort.num_compared_steps):
        images = torch.rand(1, 3, *FRAME_SHAPE[:2], generator=generator) * 2 - 1
        codes = torch.randint(0, model.codebook_size, (1, model.num_slots), generator=generator)
        uniforms = torch.rand(1, num_samples, model.num_slots, generator=generator)
        draws = []
        for number in range(len(NAMES)):
            began = time.process_time()
            if number == 0:
                hidden = ours.observe(images, codes, np.array([True]))
                draws.append(ours.draw(hidden, k, uniforms) if step >= num_fill - 1 else None)
            else:
                hidden = theirs[number - 1].observe(images, codes)
                draws.append(theirs[number - 1].draw(hidden, uniforms) if step >= num_fill - 1 else None)
            if step >= num_fill:
                spent[number].append(1e3 * (time.process_time() - began))
        if draws[0] is not None:
            for found, drawn in zip(equal, draws, strict=True):
                assert drawn is not None
                found.append(float((drawn == draws[0]).float().mean()))
    return [
        {
            "name": name,
            "k": k,
            "num_samples": num_samples,
            "median_ms": statistics.median(values),
            "mean_ms": statistics.fmean(values),
            "ratio": statistics.median(values) / statistics.median(spent[0]),
            "mean_ratio": statistics.fmean(values) / statistics.fmean(spent[0]),
            "equal_codes": statistics.fmean(same),
        }
        for name, values, same in zip(NAMES, spent, equal, strict=True)
    ]


def comparison_table(rows: Sequence[dict[str, Any]]) -> Table:
    lines = [
        (
            f"k = {row['k']}, {row['num_samples']} draws",
            row["name"],
            *(f"{row[name]:.1f}" for name in ("median_ms", "mean_ms")),
            *(f"{row[name]:.2f}" for name in ("ratio", "mean_ratio")),
            f"{row['equal_codes']:.2%}",
        )
        for row in rows
    ]
    header = ("decision", "by", "median ms", "mean ms", "× ours (median)", "× ours (mean)", "codes as ours")
    return Table(header, (tuple(lines),))


def long_run(effort: Effort) -> tuple[Table, list[dict[str, Any]]]:
    """Resident memory, and the median time of a decision, in ten stretches of one episode."""
    size = CausalConfig(dim=32, depth=2, num_heads=2, num_key_heads=1, head_dim=16, hidden_dim=48)
    agent = Agent(*parts(4, size, (5, 5)), rule=DrawRule(num_samples=2))
    agent.reset()
    frames, rows, count = noise(64), [], effort.num_long_steps // 10
    for stretch in range(10):
        spent = []
        for step in range(count):
            began = time.process_time()
            agent.act(frames[(stretch * count + step) % len(frames)])
            spent.append(1e3 * (time.process_time() - began))
        rows.append({"steps": (stretch + 1) * count, "median_ms": statistics.median(spent), "mebibytes": _resident()})
    lines = [(str(row["steps"]), f"{row['median_ms']:.3f}", f"{row['mebibytes']:.2f}") for row in rows]
    return Table(("steps", "median ms", "resident MiB"), (tuple(lines),)), rows


def _resident() -> float:
    """Mebibytes of memory that this process holds; NaN where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Milliseconds of a decision, on one CPU thread.")
    parser.add_argument("--quick", action="store_true", help="a small model, for seconds; the figures mean little")
    parser.add_argument("--only", choices=("fit", "compare", "long"), help="one of the three tables")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else FULL
    results: dict[str, Any] = {"schema_version": 1, "kind": "latency-bench"}
    with single_thread():
        results["machine"] = {**describe_machine(), "torch": torch.__version__}
        print(f"{results['machine']['processor']}, 1 thread · torch {torch.__version__}\n")
        if options.only in (None, "long"):  # first, while the process is small
            table, results["long"] = long_run(effort)
            print(f"One agent, a small model:\n{table.to_text()}\n")
        if options.only in (None, "fit"):
            table, results["fit"] = predict(effort)
            print(f"Whole decisions, K = {effort.num_slots}, wall-clock:\n{table.to_text()}\n")
        if options.only in (None, "compare"):
            results["compare"] = [row for k, draws in effort.compared for row in compare(effort, k, draws)]
            print(f"Context and codes, CPU time:\n{comparison_table(results['compare']).to_text()}\n")
    if options.json:
        write_text(options.json, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

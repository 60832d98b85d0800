"""How well frames are decoded at every prefix length."""

from typing import Any

import numpy as np
import torch
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.seeding import torch_generator
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.images import psnr, ssim
from flexlam.metrics.intervals import estimate
from flexlam.training.pairs import SplitPairs


class ReconstructionConfig(Config):
    """Settings of a reconstruction measurement."""

    prefix_lengths: tuple[int, ...] = ()
    """The k to report; empty means 0, 1, 2, 4, ... and K."""
    num_transitions: int = Field(default=1000, ge=1)
    """Test transitions at most; the same ones for every k."""
    num_sample_steps: int = Field(default=8, ge=0)
    """Steps in which a flow decoder's samples are drawn; 0 leaves samples out."""
    seed: int = 0
    """Which transitions, and the noise of samples."""


def measure_reconstruction(model: LatentActionModel, pairs: SplitPairs, config: ReconstructionConfig) -> dict[str, Any]:
    """PSNR and SSIM of the mean frame at every k, and of samples where the decoder draws any.

    Raises:
        ConfigError: a k that the model cannot serve.
    """
    lengths = check_prefix_lengths(config.prefix_lengths, model.num_slots)
    order = np.random.default_rng(config.seed).permutation(len(pairs.test))[: config.num_transitions]
    batch = pairs.test.batch(pairs.store, np.sort(order), with_actions=False)
    codes = model.encode(batch.obs, batch.next_obs)
    draws = config.num_sample_steps > 0 and model.decoder.draws
    rows = []
    for k in lengths:
        row: dict[str, Any] = {"k": k, "bits": k * model.bits_per_slot}
        decoded = model.decode(batch.obs, codes, prefix_length=k)
        row.update(_quality(decoded, batch.next_obs))
        if draws:
            generator = torch_generator(config.seed, "samples")
            sample = model.decode(batch.obs, codes, k, config.num_sample_steps, generator)
            row.update({f"sample_{name}": value for name, value in _quality(sample, batch.next_obs).items()})
        rows.append(row)
    return {
        "rows": rows,
        "copy": _quality(batch.obs, batch.next_obs),
        "decoder": model.config.decoder.name,
        "num_transitions": len(order),
    }


def _quality(decoded: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM over transitions, with standard errors."""
    result: dict[str, float] = {}
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        found = estimate(measure(decoded.cpu(), target).clamp_max(100).double().numpy())
        result |= {name: found.mean, f"{name}_stderr": found.stderr}
    return result

"""Recordings of the square suite, and parts of an agent for it: for the tests of acting and of what measures it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from flexlam.acting.collect import Mixed, collect
from flexlam.core.seeding import seeded_torch
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store_builder import build_store
from flexlam.envs.base import Suite
from flexlam.lam.model import LatentActionModel
from flexlam.nn.causal import CausalConfig
from flexlam.policy.autoregressive import SequenceModel
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs
from square_world import SquareSuite
from tiny import ENCODER, REGRESSION

POLICY = SequenceModel.Config(
    context_frames=6,
    stride=4,
    patch_size=8,
    transformer=CausalConfig(dim=16, depth=1, num_heads=2, num_key_heads=1, head_dim=8, hidden_dim=16),
)


@dataclass(frozen=True)
class Parts:
    """What acts, and what it learns from."""

    lam: LatentActionModel
    policy: SequenceModel
    pairs: SplitPairs


def record_squares(
    path: Path, num_frames: int, suite: Suite | None = None, noise: float = 0.2, seed: int = 0, actions: bool = True
) -> Path:
    """A frame store of so many frames of each task, of an expert with bursts of random actions."""
    suite = suite or SquareSuite()
    spec = suite.action_spec if actions else None
    with LeRobotWriter(path / "recording", suite.fps, suite.frame_shape, spec) as writer:
        collect(suite, suite.tasks, num_frames, Mixed(noise), seed, writer, with_actions=actions)
    config = StoreConfig(frame_size=None)
    build_store(LeRobotReader(path / "recording"), path / "store", config, announce=lambda _: None)
    return path / "store"


def random_parts(store: Path, seed: int = 0) -> Parts:
    """Models whose weights are drawn at random: what they do depends on all that they are given."""
    pairs = load_pairs(store, PairConfig())
    with seeded_torch(seed, "parts"):
        config = LatentActionModel.Config(num_slots=4, encoder=ENCODER, decoder=REGRESSION)
        lam = LatentActionModel(config, pairs.store.frame_shape)
        policy = SequenceModel(POLICY, lam.frame_shape, lam.num_slots, lam.quantizer.codebook_size)
        for model in (lam.encoder, lam.decoder, policy):
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.3)
    return Parts(lam.eval(), policy.eval(), pairs)

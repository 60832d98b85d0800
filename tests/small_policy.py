"""A sequence model small enough for tests, with weights drawn at random, and episodes for it."""

import torch
from torch import Tensor

from flexlam.core.seeding import seeded_torch
from flexlam.nn.causal import CausalConfig
from flexlam.policy.autoregressive import SequenceModel

SHAPE, NUM_SLOTS, CODEBOOK = (8, 8, 3), 3, 11
TRANSFORMER = CausalConfig(dim=16, depth=2, num_heads=4, num_key_heads=2, head_dim=8, hidden_dim=24)


def sequence_model(context_frames: int = 10, stride: int = 4) -> SequenceModel:
    config = SequenceModel.Config(context_frames=context_frames, stride=stride, patch_size=4, transformer=TRANSFORMER)
    with seeded_torch(0, "model"):
        model = SequenceModel(config, SHAPE, NUM_SLOTS, CODEBOOK)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def episode(length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (T, C, H, W) and codes (T, K); row t holds the codes of the transition from t."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(length, 3, 8, 8, generator=generator) * 2 - 1
    return images, torch.randint(0, CODEBOOK, (length, NUM_SLOTS), generator=generator)

"""Policies over frames small enough for tests."""

from typing import Any

from flexlam.core.seeding import seeded_torch
from flexlam.policy.frames import FramePolicy, LatentSpace
from flexlam.policy.trunk import TrunkConfig

SHAPE = (8, 8, 3)
TRUNK = TrunkConfig(patch_size=4, channels=(8, 8))


def frame_policy(
    policy_class: type[FramePolicy],
    num_slots: int = 3,
    latent_dim: int = 2,
    prefix_sampling: str = "uniform",
    codebook_size: int = 20,
    hidden_dim: int = 32,
    **settings: Any,
) -> FramePolicy:
    """Weights drawn from a seed."""
    config = policy_class.Config(trunk=TRUNK, hidden_dim=hidden_dim, **settings)
    values = {"num_slots": num_slots, "latent_dim": latent_dim, "codebook_size": codebook_size}
    with seeded_torch(0, "policy"):
        return policy_class(config, SHAPE, LatentSpace.parse({**values, "prefix_sampling": prefix_sampling})).eval()

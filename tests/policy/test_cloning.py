from collections.abc import Iterator

import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.core.seeding import seeded_torch
from flexlam.policy.cloning import CloningPolicy

TINY = CloningPolicy.Config(patch_size=4, channels=(8, 8), hidden_dim=16)


def frames(seed: int, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(autouse=True)
def _the_same_weights_every_time() -> Iterator[None]:
    with seeded_torch(0, "test"):
        yield


def test_both_frames_matter_and_so_does_their_order() -> None:
    policy = CloningPolicy(TINY, (16, 16, 3), 5).eval()
    before, now = frames(0), frames(1)
    scores = policy(before, now)
    assert scores.shape == (3, 5)
    assert not torch.allclose(scores, policy(now, before))
    assert not torch.allclose(scores, policy(now, now))


@pytest.mark.parametrize(("height", "width", "depth"), [(64, 64, 3), (20, 12, 3), (4, 4, 2), (36, 28, 1)])
def test_any_frame_of_whole_patches_fits(height: int, width: int, depth: int) -> None:
    config = TINY.model_copy(update={"channels": (8,) * depth})
    scores = CloningPolicy(config, (height, width, 3), 7)(frames(0, height, width), frames(1, height, width))
    assert scores.shape == (3, 7) and scores.isfinite().all()


def test_dropout_acts_in_training_only() -> None:
    policy = CloningPolicy(TINY, (16, 16, 3), 5)
    assert not torch.equal(policy(frames(0), frames(1)), policy(frames(0), frames(1)))
    policy.eval()
    assert torch.equal(policy(frames(0), frames(1)), policy(frames(0), frames(1)))


def test_a_patch_that_does_not_tile_the_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match="patch_size 4 does not divide frames of 18×16"):
        CloningPolicy(TINY, (18, 16, 3), 5)

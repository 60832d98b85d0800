"""What flow and regression have in common: normalisation, the frames of a decision, the disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.bottleneck.fsq import FSQ
from flexlam.core.errors import CheckpointError
from flexlam.core.seeding import seeded_torch
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.frames import FramePolicy, LatentSpace
from flexlam.policy.regression import RegressionPolicy
from small_policy import sequence_model
from small_spaces import SHAPE, TRUNK, frame_policy

CLASSES = (FlowPolicy, RegressionPolicy)


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_latents_are_normalised_by_the_middle_of_their_range_and_their_spread() -> None:
    policy = frame_policy(FlowPolicy, num_slots=1, latent_dim=3)
    latents = torch.tensor([[[0.0, 5.0, 1.0]], [[1.0, 5.0, 1.0]], [[4.0, 5.0, 3.0]]])
    policy.set_statistics(latents.amin(0), latents.amax(0), latents.std(0, correction=0))
    torch.testing.assert_close(policy.centre, torch.tensor([[2.0, 5.0, 2.0]]))
    spread = (torch.tensor([0.0, 1.0, 4.0]) - 5 / 3).square().mean().sqrt()
    torch.testing.assert_close(policy.scale[0, [0, 1]], torch.stack([spread, torch.tensor(1.0)]))
    normal = policy.normalize(latents)
    assert normal[:, 0, 1].eq(0).all(), "a coordinate that never changes is shifted only"
    torch.testing.assert_close(normal[:, 0, 0], torch.tensor([-2.0, -1.0, 2.0]) / spread)


@pytest.mark.parametrize("policy_class", CLASSES)
def test_a_decision_sees_sparse_frames_of_its_own_episode_and_the_first_one_repeats(
    policy_class: type[FramePolicy], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = frame_policy(policy_class, num_frames=3, frame_stride=2)
    assert policy.context_frames == 5
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(policy, "features", lambda x: (seen.append(x.clone()), policy_class.features(policy, x))[1])
    decider = policy.decider(2, 1, num_steps=1)
    video = images(8)
    codes = torch.zeros(2, policy.num_slots, dtype=torch.long)
    both, first = np.array([True, True]), np.array([True, False])
    for step in range(5):
        decider.observe(torch.stack([video[step], video[step] * 0]), codes, both)
        expected = [video[max(0, step - back)] for back in (4, 2, 0)]
        assert torch.equal(seen[-1][0], torch.stack(expected))
    decider.reset(0)
    decider.observe(video[6:8], codes, first)
    assert torch.equal(seen[-1][0], video[6].expand(3, -1, -1, -1)), "a new episode knows nothing of the one before"
    assert not seen[-1][1].any(), "who holds no episode keeps what it had"


@pytest.mark.parametrize("policy_class", CLASSES)
def test_draws_become_valid_codes_and_zeros_behind_them(policy_class: type[FramePolicy]) -> None:
    quantizer = FSQ(FSQ.Config(levels=(5, 4)), 3).eval()
    policy = frame_policy(policy_class, num_slots=3, latent_dim=2, codebook_size=20)
    decider = policy.decider(2, 4, num_steps=3)
    codes = torch.zeros(2, 3, dtype=torch.long)
    seen = decider.observe(images(2), codes, np.ones(2, bool))
    numbers = torch.from_numpy(np.stack([policy.random_numbers(np.random.default_rng(i), 4) for i in range(2)])).float()
    for k in range(4):
        drawn = decider.draw(seen, k, numbers)
        assert drawn.shape == (2, 4, k, 2)
        latents, predicted = decider.latents(drawn, quantizer)
        assert latents.shape == (2, 4, 3, 2) and predicted.shape == (2, 4, k)
        assert not latents[:, :, k:].any()
        torch.testing.assert_close(quantizer.indices_to_latents(predicted), latents[:, :, :k])
    without = decider.draw(seen, 3, None)
    assert torch.equal(without[:, :1].expand(-1, 4, -1, -1), without), "nothing is left to chance"


@pytest.mark.parametrize("policy_class", CLASSES)
def test_policies_survive_the_disk_and_know_their_model(policy_class: type[FramePolicy], tmp_path: Path) -> None:
    policy = frame_policy(policy_class, num_frames=2)
    policy.set_statistics(torch.full((3, 2), -1.0), torch.full((3, 2), 2.0), torch.full((3, 2), 0.7))
    policy.lam_hash = "abc"
    policy.save_pretrained(tmp_path / "policy")
    loaded = policy_class.from_pretrained(tmp_path / "policy", "abc")
    assert loaded.config == policy.config and loaded.space == policy.space and loaded.hash
    seen = policy.features(images(4).unflatten(0, (2, 2)))
    points = torch.randn(2, 1, 3, 2)
    assert torch.equal(loaded.generate(seen, points, 3, 2), policy.generate(seen, points, 3, 2))
    with pytest.raises(CheckpointError, match="abc, not of xyz"):
        policy_class.from_pretrained(tmp_path / "policy", "xyz")
    sequence_model().save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match="holds a sequence-model"):
        policy_class.from_pretrained(tmp_path / "other", None)


def test_a_trunk_takes_all_frames_together() -> None:
    with seeded_torch(0, "trunk"):
        config = FlowPolicy.Config(trunk=TRUNK, num_frames=2, hidden_dim=8)
        space = LatentSpace(num_slots=1, latent_dim=1, codebook_size=2, prefix_sampling="full")
        policy = FlowPolicy(config, SHAPE, space)
    pair = images(2)[None]
    assert not torch.allclose(policy.features(pair), policy.features(pair.flip(1)))

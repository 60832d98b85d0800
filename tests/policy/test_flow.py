"""Flow matching: exact where the answer is known, both modes where there are two, one network for every k."""

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.policy.flow import FlowPolicy
from flexlam.policy.frames import FramePolicy
from flexlam.policy.regression import RegressionPolicy
from small_spaces import frame_policy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learn(policy: FramePolicy, latents: Tensor, num_steps: int = 900) -> FramePolicy:
    """Trained on latents (N, K, D) that a grey frame is followed by."""
    policy.set_statistics(latents.amin(0), latents.amax(0), latents.std(0, correction=0))
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-3)
    frames = torch.zeros(64, 1, 3, 8, 8)
    for step in range(num_steps):
        batch = latents[torch.randint(len(latents), (64,), generator=seeded(step))]
        policy.loss(frames, batch, seeded(step)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return policy.eval()


@torch.inference_mode()
def drawn(policy: FramePolicy, k: int, num_steps: int = 3, count: int = 256) -> Tensor:
    seen = policy.features(torch.zeros(1, 1, 3, 8, 8))
    points = torch.randn(1, count, *policy.centre.shape, generator=seeded(9))
    return policy.generate(seen, points, k, num_steps)[0]


@pytest.mark.parametrize("target", ["latent", "vector"])
def test_a_flow_keeps_both_modes_where_regression_gives_the_mean(target: str) -> None:
    latents = torch.tensor([[[2.0]], [[4.0]]])
    flow = learn(frame_policy(FlowPolicy, 1, 1, target=target, hidden_dim=64), latents)
    found = drawn(flow, 1, num_steps=20).flatten()
    near = [(found - mode).abs().lt(0.3).float().mean().item() for mode in (2.0, 4.0)]
    assert min(near) > 0.35 and sum(near) > 0.9, near
    mean = drawn(learn(frame_policy(RegressionPolicy, 1, 1), latents, 200), 1).flatten()
    torch.testing.assert_close(mean, torch.full_like(mean, 3.0), rtol=0, atol=0.1)


def test_one_network_serves_every_prefix() -> None:
    """The second slot is the first one turned round: at k = 1 there are two modes, at k = 2 they belong together."""
    latents = torch.tensor([[[1.0], [-1.0]], [[-1.0], [1.0]]])
    flow = learn(frame_policy(FlowPolicy, 2, 1, hidden_dim=64), latents)
    for k in (1, 2):
        found = drawn(flow, k, num_steps=20)
        assert found.shape == (256, k, 1)
        assert 0.3 < found[:, 0, 0].gt(0).float().mean() < 0.7
        assert found.abs().sub(1).abs().lt(0.3).float().mean() > 0.9
    assert (found[:, 0].sign() == -found[:, 1].sign()).float().mean() > 0.95


@pytest.mark.parametrize("num_steps", [1, 3, 20])
def test_a_constant_field_is_followed_exactly(num_steps: int) -> None:
    policy = frame_policy(FlowPolicy, target="vector")
    torch.nn.init.zeros_(policy.network[-1].weight)
    torch.nn.init.constant_(policy.network[-1].bias, 0.75)
    points = torch.randn(2, 4, 3, 2, generator=seeded())
    seen = policy.features(torch.zeros(2, 1, 3, 8, 8))
    torch.testing.assert_close(policy.generate(seen, points, 3, num_steps), points + 0.75, rtol=0, atol=1e-5)
    later = policy.generate(seen, points, 3, num_steps, time=0.6)
    torch.testing.assert_close(later, points + 0.4 * 0.75, rtol=0, atol=1e-5)


def test_both_targets_agree_where_the_prediction_is_perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    """For z ~ N(m, σ²) the best predictions E[z | z_τ] and E[z − z_0 | z_τ] are known."""
    mean, std = 1.5, 0.4

    def best(self: FlowPolicy, seen: Tensor, points: Tensor, times: Tensor, keep: Tensor) -> Tensor:
        s = times[:, None, None]
        data = mean + (1 - s) * std**2 / ((1 - s) ** 2 * std**2 + s**2) * (points - (1 - s) * mean)
        return data if self.config.target == "latent" else (data - points) / s

    monkeypatch.setattr(FlowPolicy, "_predict", best)
    policies = [frame_policy(FlowPolicy, target=target) for target in ("latent", "vector")]
    for num_steps in (1, 3, 100):
        by_target = [drawn(policy, 3, num_steps) for policy in policies]
        torch.testing.assert_close(*by_target, rtol=1e-4, atol=1e-5)
    assert by_target[0].std() == pytest.approx(std, rel=0.1) and by_target[0].mean() == pytest.approx(mean, abs=0.05)


def test_slots_behind_k_are_neither_read_nor_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = frame_policy(FlowPolicy)
    seen = policy.features(torch.zeros(1, 1, 3, 8, 8))
    points = torch.randn(1, 5, 3, 2, generator=seeded())
    other = points.clone()
    other[:, :, 2:] = 9.0
    assert torch.equal(policy.generate(seen, points, 2, 3), policy.generate(seen, other, 2, 3))
    assert not torch.equal(policy.generate(seen, points, 3, 3), policy.generate(seen, other, 3, 3))
    monkeypatch.setattr(policy, "_prefix_lengths", lambda count, generator: torch.full((count,), 2))
    latents = torch.randn(4, 3, 2, generator=seeded(1))
    changed = latents.clone()
    changed[:, 2:] += 5
    frames = torch.zeros(4, 1, 3, 8, 8)
    assert torch.equal(policy.loss(frames, latents, seeded()), policy.loss(frames, changed, seeded()))
    changed[:, 1] += 5
    assert not torch.equal(policy.loss(frames, latents, seeded()), policy.loss(frames, changed, seeded()))


def test_prefix_lengths_are_those_of_the_model_and_never_zero() -> None:
    flow = frame_policy(FlowPolicy, prefix_sampling="uniform")
    counts = torch.bincount(flow._prefix_lengths(3000, seeded()), minlength=4)
    assert not counts[0] and counts[1:].min() > 900
    fixed = frame_policy(FlowPolicy, prefix_sampling="full")
    assert fixed._prefix_lengths(50, seeded()).eq(3).all()
    seen = fixed.features(torch.zeros(1, 1, 3, 8, 8))
    points = torch.randn(1, 2, 3, 2, generator=seeded())
    whole = fixed.generate(seen, points, 3, 3)
    assert torch.equal(fixed.generate(seen, points, 1, 3), whole[:, :, :1]), "it knows whole codes alone"


def test_noise_is_the_same_for_every_k_and_for_every_number_of_draws_that_begins_alike() -> None:
    flow = frame_policy(FlowPolicy)
    few, many = (flow.random_numbers(np.random.default_rng(3), count) for count in (2, 5))
    assert few.shape == (2, 3, 2) and np.array_equal(few, many[:2])

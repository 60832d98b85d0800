import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from flexlam.nn.rectified_flow import TIME_DIM, euler_sample, interpolate, sample_times, time_features


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def velocity_oracle(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, num_steps: int) -> Tensor:
    """The sampler as others write it: sigmas from 1 down to 0, dx = (sigma' - sigma)·v with v = noise - data."""
    x = noise.double()
    sigmas = [1 - i / num_steps for i in range(num_steps + 1)]
    for i in range(num_steps):
        sigma = torch.full((len(x),), sigmas[i], dtype=torch.float64)
        data = predict(x, sigma)
        implied_noise = (x - (1 - sigmas[i]) * data) / sigmas[i]
        x = x + (sigmas[i + 1] - sigmas[i]) * (implied_noise - data)
    return x


def wavy(x: Tensor, s: Tensor) -> Tensor:
    s = s.view(-1, *[1] * (x.ndim - 1))
    return torch.sin(2 * x) * (1 - s) + 0.3 * s * x.cos()


@pytest.mark.parametrize("num_steps", [1, 2, 7, 50])
def test_euler_steps_agree_with_the_velocity_form(num_steps: int) -> None:
    noise = torch.randn(4, 3, 5, generator=seeded())
    expected = velocity_oracle(wavy, noise, num_steps)
    torch.testing.assert_close(euler_sample(wavy, noise, num_steps).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_steps", [1, 3, 20])
def test_a_point_is_reached_exactly(num_steps: int) -> None:
    point = torch.randn(1, 6, generator=seeded(1)).expand(8, 6)
    noise = torch.randn(8, 6, generator=seeded(2))
    out = euler_sample(lambda x, s: point, noise, num_steps)
    torch.testing.assert_close(out, point, rtol=0, atol=1e-6)


def test_many_steps_carry_noise_to_a_gaussian() -> None:
    """For data ~ N(m, σ²) the best prediction E[x | x_s] is known, and the flow ends at m + σ·noise."""
    mean, std = 3.0, 0.5

    def posterior_mean(x: Tensor, s: Tensor) -> Tensor:
        s = s[:, None]
        gain = (1 - s) * std**2 / ((1 - s) ** 2 * std**2 + s**2)
        return mean + gain * (x - (1 - s) * mean)

    noise = torch.randn(64, 2, generator=seeded())
    out = euler_sample(posterior_mean, noise, 2000)
    torch.testing.assert_close(out, mean + std * noise, rtol=0, atol=5e-3)
    one_step = euler_sample(posterior_mean, noise, 1)
    torch.testing.assert_close(one_step, torch.full_like(noise, mean))


def test_one_step_is_the_prediction_from_pure_noise() -> None:
    noise = torch.randn(4, 3, generator=seeded())
    seen = []

    def predict(x: Tensor, s: Tensor) -> Tensor:
        seen.append((x, s))
        return 2 * x

    assert torch.equal(euler_sample(predict, noise, 1), 2 * noise)
    assert len(seen) == 1
    assert torch.equal(seen[0][0], noise) and torch.equal(seen[0][1], torch.ones(4))


def test_the_path_is_straight_from_data_to_noise() -> None:
    data, noise = torch.zeros(3, 2, 2), torch.ones(3, 2, 2)
    out = interpolate(data, noise, torch.tensor([0.0, 0.25, 1.0]))
    assert out[:, 0, 0].tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_at_pure_noise(share: float) -> None:
    times = sample_times(20_000, share, -0.5, 1.0, seeded())
    assert times.min() > 0 and times.max() <= 1
    assert (times == 1).float().mean() == pytest.approx(share, abs=3 * math.sqrt(0.25 / 20_000))


def test_the_other_times_are_logit_normal() -> None:
    times = sample_times(20_000, 0.0, -0.5, 0.8, seeded()).double()
    logits = torch.logit(times)
    assert logits.mean() == pytest.approx(-0.5, abs=0.03)
    assert logits.std() == pytest.approx(0.8, abs=0.02)


def test_times_follow_the_generator() -> None:
    first, again, other = (sample_times(32, 0.5, 0.0, 1.0, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_later_start_goes_on_where_an_earlier_one_stood() -> None:
    noise = torch.randn(4, 3, generator=seeded())
    whole = euler_sample(wavy, noise, 4)
    first = noise
    for s, after in ((1.0, 0.75), (0.75, 0.5)):
        data = wavy(first, torch.full((4,), s))
        first = data + (first - data) * (after / s)
    torch.testing.assert_close(euler_sample(wavy, first, 2, start=0.5), whole)


def test_time_features_tell_times_apart() -> None:
    times = torch.linspace(0, 1, 50)
    features = time_features(times)
    assert features.shape == (50, TIME_DIM) and features.abs().max() <= 1
    distances = torch.cdist(features, features) + 10 * torch.eye(50)
    assert distances.min() > 0.5

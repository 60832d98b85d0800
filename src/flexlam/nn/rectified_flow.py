"""Rectified flow: straight paths between data (s = 0) and noise (s = 1).

x_s = (1 − s)·x + s·ε. The network predicts x from x_s; the velocity follows as (x_s − x) / s.
Sources: Liu et al. 2023; Esser et al. 2024 §3 (logit-normal times).
"""

import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

TIME_DIM = 64
"""Width of `time_features`."""


def interpolate(
    data: Float[Tensor, "B *rest"], noise: Float[Tensor, "B *rest"], times: Float[Tensor, "B"]
) -> Float[Tensor, "B *rest"]:
    """The point at time s on the straight path from data to noise."""
    s = times.view(-1, *[1] * (data.ndim - 1))
    return (1 - s) * data + s * noise


def sample_times(
    count: int, pure_noise_share: float, mean: float, std: float, generator: torch.Generator | None
) -> Float[Tensor, "B"]:
    """Times in (0, 1]: a share at pure noise (s = 1), the rest logit-normal.

    Without the share at pure noise the decoder can read the answer off x_s and learns to ignore the latent action
    (docs/log.md).
    """
    device = generator.device if generator is not None else None
    normal = torch.randn(count, generator=generator, device=device)
    uniform = torch.rand(count, generator=generator, device=device)
    return torch.where(uniform < pure_noise_share, torch.ones_like(normal), torch.sigmoid(mean + std * normal))


def euler_sample(
    predict: Callable[[Tensor, Tensor], Tensor], noise: Float[Tensor, "B *rest"], num_steps: int, start: float = 1.0
) -> Float[Tensor, "B *rest"]:
    """Integrate from noise to data in equal steps; `predict(x_s, s (B,))` returns the predicted data.

    One step returns the prediction from pure noise: the conditional mean. With a `start` below 1, `noise` is a point of
    that time on its way.
    """
    x = noise
    grid = torch.linspace(start, 0, num_steps + 1).tolist()
    for s, s_next in itertools.pairwise(grid):
        data = predict(x, torch.full((len(x),), s, device=x.device))
        x = data + (x - data) * (s_next / s)
    return x


def time_features(times: Float[Tensor, "B"]) -> Float[Tensor, "B 64"]:
    """Sines and cosines of s at 32 frequencies, evenly spaced in logarithm from 1 to 1000."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000.0), TIME_DIM // 2, device=times.device))
    angles = times[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)

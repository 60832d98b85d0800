import pytest
import torch

from flexlam.metrics.distances import energy_distance


def normal(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed)) + shift


def test_two_points_by_hand() -> None:
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]])
    assert energy_distance(a, b) == pytest.approx(2 * (2 + 4 + 1 + 3) / 4 - 1 - 2)


def test_sets_of_one_distribution_are_no_distance_apart_on_average() -> None:
    found = torch.tensor([energy_distance(normal(40, 2 * i), normal(60, 2 * i + 1)) for i in range(200)])
    assert abs(found.mean()) < 3 * found.std() / 200**0.5
    assert energy_distance(normal(500, 0), normal(500, 1, shift=1.0)) > 0.5


def test_means_lie_far_from_what_they_are_means_of() -> None:
    modes = torch.tensor([[-1.0], [1.0]]).repeat(50, 1)
    assert energy_distance(torch.zeros(50, 1), modes) > 0.9

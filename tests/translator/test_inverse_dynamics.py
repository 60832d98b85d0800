import math

import pytest
import torch
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.translator.base import HourglassConfig
from flexlam.translator.inverse_dynamics import InverseDynamicsModel, PreviousActionModel

NAN = float("nan")


def log_softmax(model: PreviousActionModel, previous: list[list[float]]) -> Tensor:
    return model(torch.tensor(previous)).log_softmax(-1)


def test_one_choice_is_the_table_of_add_one_smoothed_frequencies() -> None:
    """After 0: twice 0, once 1 -> (3, 2, 1)/6. After 1: once 2 -> (1, 1, 2)/4. After 2: nothing -> 1/3 each."""
    model = PreviousActionModel(ActionSpec(num_choices=(3,)))
    previous = torch.tensor([[0.0], [0.0], [0.0], [1.0], [NAN], [NAN]])
    model.fit(previous, torch.tensor([[0.0], [0.0], [1.0], [2.0], [1.0], [1.0]]))
    table = log_softmax(model, [[0.0], [1.0], [2.0], [NAN]]).exp()
    wanted = [[3 / 6, 2 / 6, 1 / 6], [1 / 4, 1 / 4, 2 / 4], [1 / 3] * 3, [1 / 5, 3 / 5, 1 / 5]]
    assert torch.allclose(table, torch.tensor(wanted))
    loss = model.codec.loss(model(torch.tensor([[0.0]])), torch.tensor([[1.0]]))
    assert loss.item() == pytest.approx(math.log(3))


def test_several_choices_have_a_table_each() -> None:
    model = PreviousActionModel(ActionSpec(num_choices=(2, 3)))
    previous = torch.tensor([[0.0, 2.0], [0.0, 2.0], [1.0, 0.0]])
    model.fit(previous, torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 1.0]]))
    scores = model(torch.tensor([[0.0, 2.0], [1.0, 1.0]]))
    first, second = scores[:, :2].softmax(-1), scores[:, 2:].softmax(-1)
    assert torch.allclose(first, torch.tensor([[1 / 4, 3 / 4], [2 / 3, 1 / 3]]))
    assert torch.allclose(second, torch.tensor([[2 / 5, 1 / 5, 2 / 5], [1 / 3, 1 / 3, 1 / 3]]))


def test_a_choice_does_not_see_the_previous_choice_of_another_dimension() -> None:
    model = PreviousActionModel(ActionSpec(num_choices=(2, 2)))
    rows = torch.randint(0, 2, (50, 4), generator=torch.Generator().manual_seed(0)).float()
    model.fit(rows[:, :2], rows[:, 2:])
    a, b = model(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    assert torch.equal(a[:2], b[:2]) and not torch.equal(a[2:], b[2:])


def test_continuous_actions_are_a_ridge_regression_on_the_previous_ones(generator: torch.Generator) -> None:
    """Against the closed form in double precision, on standardised values with the flag for "none" beside them."""
    previous = torch.randn(200, 2, generator=generator) * 3 + 1
    previous[0] = NAN
    action = previous.nan_to_num(0.0) @ torch.tensor([[0.9, 0.0], [0.3, -0.5]]) + 2
    model = PreviousActionModel(ActionSpec(num_continuous=2))
    model.fit(previous, action)
    mean, std = action.double().mean(0), action.double().std(0, correction=0)
    x = torch.cat([((previous.double() - mean) / std).nan_to_num(0.0), previous.isnan().any(1, keepdim=True)], 1)
    weights = torch.linalg.solve(x.T @ x + torch.eye(3), x.T @ ((action - mean) / std))
    assert torch.allclose(model(previous), (x @ weights).float(), atol=1e-4)
    assert torch.allclose(model.codec.predict(model(previous)), (x @ weights * std + mean).float(), atol=1e-3)


def test_mixed_actions_are_fitted_part_by_part(generator: torch.Generator) -> None:
    mixed, discrete, continuous = (
        PreviousActionModel(spec)
        for spec in (
            ActionSpec(num_choices=(3,), num_continuous=1),
            ActionSpec(num_choices=(3,)),
            ActionSpec(num_continuous=1),
        )
    )
    choices = torch.randint(0, 3, (40, 1), generator=generator).float()
    values = torch.randn(40, 1, generator=generator)
    both = torch.cat([choices, values], 1)
    mixed.fit(both[:-1], both[1:])
    discrete.fit(choices[:-1], choices[1:])
    continuous.fit(values[:-1], values[1:])
    assert torch.allclose(mixed(both), torch.cat([discrete(choices), continuous(values)], 1), atol=1e-5)


class Difference(nn.Module):
    """An encoder of two slots: mean brightness of both frames."""

    def forward(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        return torch.stack([obs.mean((1, 2, 3)), next_obs.mean((1, 2, 3))], 1)[..., None]


@pytest.mark.parametrize("use_prev_action", [False, True])
def test_the_inverse_dynamics_model_reads_frames_and_maybe_the_previous_action(
    use_prev_action: bool, generator: torch.Generator
) -> None:
    model = InverseDynamicsModel(
        Difference(), 2, ActionSpec(num_choices=(4,)), use_prev_action, HourglassConfig(dropout=0, input_dropout=0)
    )
    obs, next_obs = torch.randn(2, 3, 3, 8, 8, generator=generator)
    zeros, ones = torch.zeros(3, 1), torch.ones(3, 1)
    outputs = model(obs, next_obs, zeros)
    assert outputs.shape == (3, 4)
    assert torch.equal(outputs, model(obs, next_obs, ones)) != use_prev_action
    assert not torch.equal(outputs, model(next_obs, obs, zeros))
    assert model(obs, next_obs, torch.full((3, 1), NAN)).isfinite().all()

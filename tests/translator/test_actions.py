import math

import pytest
import torch

from flexlam.core.action import ActionSpec
from flexlam.translator.actions import ActionCodec

NAN = float("nan")


def test_a_previous_choice_becomes_one_hot_with_one_more_for_none() -> None:
    codec = ActionCodec(ActionSpec(num_choices=(3,)))
    features = codec.features(torch.tensor([[0.0], [2.0], [NAN]]))
    assert features.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert features.shape[1] == codec.spec.num_features


def test_continuous_values_are_standardised_and_none_is_the_mean_with_a_flag() -> None:
    codec = ActionCodec(ActionSpec(num_continuous=2))
    codec.fit(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    features = codec.features(torch.tensor([[3.0, 10.0], [NAN, NAN]]))
    assert features.tolist() == [[1, -1, 0], [0, 0, 1]]
    assert features.shape[1] == codec.spec.num_features


def test_mixed_actions_keep_their_order_and_a_hole_anywhere_means_none(mixed: ActionSpec) -> None:
    codec = ActionCodec(mixed)
    features = codec.features(torch.tensor([[1.0, 0.0, 0.5, -2.0], [1.0, 0.0, NAN, 0.0]]))
    assert features[0].tolist() == [0, 1, 0, 0, 1, 0, 0, 0.5, -2, 0]
    assert features[1, [3, 6, 9]].tolist() == [1, 1, 1] and features[1, :7].sum() == 2
    assert features.isfinite().all() and features.shape[1] == mixed.num_features


def test_the_loss_of_a_choice_is_the_cross_entropy() -> None:
    codec = ActionCodec(ActionSpec(num_choices=(2,)))
    outputs = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    losses = codec.loss(outputs, torch.tensor([[1.0], [0.0]]))
    assert losses.tolist() == pytest.approx([math.log(2), math.log(4 / 3)])


def test_the_loss_of_a_mixed_action_adds_its_parts(mixed: ActionSpec) -> None:
    """Cross-entropies ln 3 and ln 2 of even scores; standardised targets (1, −1) against outputs (0, 1): mean 2.5."""
    codec = ActionCodec(mixed)
    codec.fit(torch.tensor([[0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 2.0, 8.0]]))
    assert codec.mean.tolist() == [1, 6] and codec.std.tolist() == [1, 2]
    outputs = torch.tensor([[0.0] * 5 + [0.0, 1.0]])
    loss = codec.loss(outputs, torch.tensor([[2.0, 1.0, 2.0, 4.0]]))
    assert loss.tolist() == pytest.approx([math.log(3) + math.log(2) + (1 + 4) / 2])


def test_predictions_come_in_the_units_of_the_dataset(mixed: ActionSpec) -> None:
    codec = ActionCodec(mixed)
    codec.fit(torch.tensor([[0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 2.0, 8.0]]))
    outputs = torch.tensor([[0.0, 9.0, 0.0, -1.0, 1.0, 0.5, -2.0]])
    assert codec.predict(outputs).tolist() == [[1, 1, 1.5, 2]]


def test_an_action_is_right_when_every_choice_is(mixed: ActionSpec) -> None:
    codec = ActionCodec(mixed)
    outputs = torch.tensor([[0.0, 9.0, 0.0, 1.0, 0.0, 5.0, 5.0]]).repeat(3, 1)
    actions = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 5.0, 5.0], [0.0, 0.0, 5.0, 5.0]])
    assert codec.correct(outputs, actions).tolist() == [True, False, False]
    continuous = ActionCodec(ActionSpec(num_continuous=1))
    assert continuous.correct(torch.zeros(2, 1), torch.ones(2, 1)).tolist() == [True, True]


def test_statistics_are_stored_with_the_weights() -> None:
    """A dimension that never moves must not blow up."""
    spec = ActionSpec(num_continuous=2)
    codec, other = ActionCodec(spec), ActionCodec(spec)
    codec.fit(torch.tensor([[1.0, 7.0], [2.0, 7.0], [6.0, 7.0]]))
    other.load_state_dict(codec.state_dict())
    assert other.mean.tolist() == [3, 7] and torch.equal(other.std, codec.std)
    assert codec.features(torch.tensor([[3.0, 7.0]])).tolist() == [[0, 0, 0]]
    assert codec.loss(torch.zeros(1, 2), torch.tensor([[3.0, 7.0]])).tolist() == [0]

import pytest
import torch

from flexlam.nn.hourglass import HourglassMLP


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_any_leading_dimensions(batch: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = HourglassMLP(6, 4, wide_dim=16, narrow_dim=8, num_blocks=2)
    x = torch.randn(*batch, 6)
    assert model(x).shape == (*batch, 4)


def test_wide_skip_and_narrow_blocks() -> None:
    torch.manual_seed(0)
    model = HourglassMLP(6, 4, wide_dim=16, narrow_dim=8, num_blocks=3)
    assert [block[1].out_features for block in model.blocks] == [8, 8, 8]
    x = torch.randn(5, 6)
    for block in model.blocks:
        torch.nn.init.zeros_(block[4].weight)
        torch.nn.init.zeros_(block[4].bias)
    torch.testing.assert_close(model(x), model.project(model.lift(x)))


def test_no_blocks_is_a_norm_between_two_linear_maps() -> None:
    model = HourglassMLP(6, 4, wide_dim=16, narrow_dim=8, num_blocks=0)
    assert model(torch.zeros(2, 6)).shape == (2, 4)


def test_dropout_hides_inputs_and_units_in_training_only() -> None:
    torch.manual_seed(0)
    model = HourglassMLP(6, 4, wide_dim=16, narrow_dim=8, num_blocks=1, dropout=0.5, input_dropout=0.5)
    x = torch.randn(3, 6)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))

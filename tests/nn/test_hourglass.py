import copy

import pytest
import torch
from torch import nn

from flexlam.nn.hourglass import HourglassMLP, HourglassStack


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


def test_a_stack_computes_what_its_networks_compute_and_learns_what_they_would() -> None:
    torch.manual_seed(0)
    networks = [HourglassMLP(6, 3, 16, 8, 2) for _ in range(3)]
    alone = copy.deepcopy(networks)
    stack = HourglassStack(networks)
    x, target = torch.randn(3, 10, 6), torch.randn(3, 10, 3)
    both = (list(stack.parameters()), [p for network in alone for p in network.parameters()])
    optimizers = [torch.optim.AdamW(parameters, lr=0.01) for parameters in both]
    for _ in range(5):
        together = stack(x)
        one_by_one = torch.stack([network(of_it) for network, of_it in zip(alone, x, strict=True)])
        assert torch.allclose(together, one_by_one, atol=1e-5)
        for outputs, optimizer in zip((together, one_by_one), optimizers, strict=True):
            (outputs - target).square().mean((1, 2)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert not torch.allclose(networks[0](x[0]), together[0], atol=1e-3), "the networks wait for `settle`"
    stack.settle()
    for settled, other in zip(networks, alone, strict=True):
        for a, b in zip(settled.parameters(), other.parameters(), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_a_stack_drops_units_in_training_only() -> None:
    torch.manual_seed(0)
    stack = HourglassStack([HourglassMLP(6, 3, 16, 8, 1, dropout=0.5, input_dropout=0.5)] * 2)
    nn.init.normal_(stack.weights[-2][0])
    stack.weights[-2].data[1] = stack.weights[-2].data[0]
    x = torch.randn(1, 4, 6).expand(2, -1, -1)
    training = stack(x)
    assert not torch.equal(training[0], training[1]) and not torch.equal(training, stack(x))
    stack.eval()
    assert torch.equal(stack(x)[0], stack(x)[1])

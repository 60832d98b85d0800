"""Batched Muon beside torch's own."""

import copy

import torch
from torch import nn

from flexlam.training.muon import BatchedMuon


def matrices() -> nn.ParameterList:
    generator = torch.Generator().manual_seed(0)
    shapes = ((8, 8), (8, 24), (24, 8), (8, 24), (32, 16))
    return nn.ParameterList([nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes])


def give_gradients(params: nn.ParameterList, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator)


def test_it_takes_the_steps_of_torchs_muon() -> None:
    ours, theirs = matrices(), copy.deepcopy(matrices())
    mine = BatchedMuon(list(ours), lr=0.02, weight_decay=0.1)
    oracle = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    before = [param.detach().clone() for param in ours]
    for step in range(4):
        for params, optimizer in ((ours, mine), (theirs, oracle)):
            give_gradients(params, step)
            optimizer.step()
    for old, a, b in zip(before, ours, theirs, strict=True):
        moved = (b - old).norm()
        assert moved > 0.1
        assert (a - b).norm() < 0.01 * moved  # both compute in bf16, in different orders


def test_its_state_is_that_of_torchs_muon() -> None:
    ours, theirs = matrices(), matrices()
    mine = BatchedMuon(list(ours), lr=0.02, weight_decay=0.1)
    oracle = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for params, optimizer in ((ours, mine), (theirs, oracle)):
        give_gradients(params, 0)
        optimizer.step()
    one, other = mine.state_dict()["state"], oracle.state_dict()["state"]
    assert one.keys() == other.keys()
    for number in one:
        assert torch.equal(one[number]["momentum_buffer"], other[number]["momentum_buffer"])


def test_a_matrix_without_a_gradient_stays() -> None:
    params = matrices()
    optimizer = BatchedMuon(list(params), lr=0.02, weight_decay=0.1)
    give_gradients(params, 0)
    params[1].grad = None
    before = params[1].detach().clone()
    optimizer.step()
    assert torch.equal(params[1], before)

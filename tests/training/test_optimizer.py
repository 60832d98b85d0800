import pytest
import torch
from torch import nn

from flexlam.nn.blocks import AdaLNBlock
from flexlam.training.optimizer import (
    OptimizerConfig,
    build_optimizers,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 16)
        self.blocks = nn.ModuleList([AdaLNBlock(16, 2)])
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_matrices_of_blocks_go_to_muon_and_every_trainable_weight_to_exactly_one() -> None:
    net = Net()
    adamw, muon = build_optimizers(net, OptimizerConfig())
    names = {id(p): n for n, p in net.named_parameters()}
    in_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    in_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    block = "blocks.0."
    assert in_muon == {
        block + n for n in ("attention.qkv.weight", "attention.out.weight", "mlp.0.weight", "mlp.2.weight")
    }
    assert in_muon | in_adamw == {n for n, p in net.named_parameters() if p.requires_grad}
    assert not in_muon & in_adamw
    decayed = next(g for g in adamw.param_groups if g["weight_decay"] > 0)
    assert all(p.ndim >= 2 for p in decayed["params"])


def test_adamw_alone_is_a_setting() -> None:
    assert len(build_optimizers(Net(), OptimizerConfig(name="adamw"))) == 1


def test_the_rate_warms_up_holds_and_falls_to_zero() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, decay_share=0.5)
    optimizers = build_optimizers(Net(), config)
    rates = [set_learning_rate(optimizers, config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)
    assert all(group["lr"] == rates[99] for o in optimizers for group in o.param_groups)


def test_state_round_trips_through_named_tensors() -> None:
    torch.manual_seed(0)
    net = Net()
    optimizers = build_optimizers(net, OptimizerConfig())
    for _ in range(2):
        net.blocks[0](torch.randn(2, 3, 16), torch.randn(2, 16)).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    fresh = build_optimizers(net, OptimizerConfig())
    load_optimizer_tensors(fresh, optimizer_tensors(optimizers))
    before, after = optimizer_tensors(optimizers), optimizer_tensors(fresh)
    assert before.keys() == after.keys() and len(before) > 4
    assert all(torch.equal(before[name], after[name]) for name in before)

import torch

from flexlam.nn.blocks import AdaLNBlock, Block, modulate


def test_adaln_block_is_the_identity_at_initialisation_and_can_leave_it() -> None:
    torch.manual_seed(0)
    block = AdaLNBlock(16, 4)
    x, condition = torch.randn(2, 5, 16), torch.randn(2, 16)
    out = block(x, condition)
    assert torch.equal(out, x)
    out.square().sum().backward()
    assert block.modulation.weight.grad.abs().max() > 0


def test_each_example_has_its_own_condition() -> None:
    torch.manual_seed(0)
    block = AdaLNBlock(16, 4)
    torch.nn.init.normal_(block.modulation.weight)
    x, condition = torch.randn(2, 5, 16), torch.randn(2, 16)
    changed = condition.clone()
    changed[1] += 1
    before, after = block(x, condition), block(x, changed)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_block_keeps_the_shape_and_mixes_tokens() -> None:
    torch.manual_seed(0)
    block = Block(16, 4)
    x = torch.randn(2, 5, 16)
    other = x.clone()
    other[:, 4] += torch.randn(16)  # a plain shift would be removed by the norm
    assert block(x).shape == x.shape
    assert not torch.allclose(block(x)[:, 0], block(other)[:, 0])


def test_modulate() -> None:
    x = torch.full((1, 2, 3), 2.0)
    shift, scale = torch.full((1, 1, 3), 5.0), torch.full((1, 1, 3), 0.5)
    assert torch.equal(modulate(x, shift, scale), torch.full((1, 2, 3), 8.0))

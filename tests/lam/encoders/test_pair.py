import pydantic
import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.lam.encoders.pair import PairEncoder

SMALL = {"patch_size": 4, "dim": 16, "depth": 2, "num_heads": 2}


def build(num_slots: int = 3) -> PairEncoder:
    torch.manual_seed(0)
    return PairEncoder(PairEncoder.Config(**SMALL), (8, 12, 3), num_slots, 5).eval()


def test_both_frames_and_their_order_matter() -> None:
    encoder, a, b = build(), torch.randn(2, 3, 8, 12), torch.randn(2, 3, 8, 12)
    out = encoder(a, b)
    assert out.shape == (2, 3, 5)
    for other in (encoder(b, a), encoder(a, a), encoder(b, b)):
        assert not torch.allclose(out, other)


def test_registers_differ_from_each_other_at_the_start() -> None:
    """Identical registers stay identical: the collapse that the start well apart prevents."""
    slots = build(num_slots=4)(torch.randn(2, 3, 8, 12), torch.randn(2, 3, 8, 12))
    distances = torch.cdist(slots[0], slots[0])
    assert distances[~torch.eye(4, dtype=torch.bool)].min() > 0.1
    encoder = build(num_slots=4)
    torch.nn.init.zeros_(encoder.registers)
    collapsed = encoder(torch.randn(2, 3, 8, 12), torch.randn(2, 3, 8, 12))
    torch.testing.assert_close(collapsed[:, :1].expand_as(collapsed), collapsed)


def test_where_a_change_happens_matters() -> None:
    encoder, still = build(), torch.zeros(1, 3, 8, 12)
    left, right = still.clone(), still.clone()
    left[..., :4], right[..., 8:] = 1, 1
    assert not torch.allclose(encoder(still, left), encoder(still, right))


@pytest.mark.parametrize("change", [{"patch_size": 5}, {"num_heads": 3}])
def test_sizes_that_do_not_go_together_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match="does not divide"):
        PairEncoder(PairEncoder.Config(**{**SMALL, **change}), (8, 12, 3), 3, 5)


@pytest.mark.parametrize("name", ["patch_size", "dim", "num_heads"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=name):
        PairEncoder.Config(**{name: 0})

import pytest
import torch
from torch import Tensor

from flexlam.training.objectives.base import ObjectiveBatch
from flexlam.training.objectives.optical_flow import OpticalFlow, block_flow
from tiny import lam_run

SIZE, BLOCK, REACH = 48, 8, 4


def noise(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def flow_of(obs: Tensor, next_obs: Tensor, max_residual: float = 0.5) -> tuple[Tensor, Tensor]:
    """(2, h, w) and (h, w) of one pair (C, H, W)."""
    flow, found = block_flow(obs[None], next_obs[None], BLOCK, REACH, max_residual)
    return flow[0], found[0].bool()


@pytest.mark.parametrize("move", [(2, -3), (-4, 4), (0, 1)])
def test_a_square_that_moves_over_a_still_ground_has_its_move_in_its_blocks(move: tuple[int, int]) -> None:
    ground, square = noise(0, 3, SIZE, SIZE), noise(1, 3, 16, 16)
    frames = [ground.clone(), ground.clone()]
    for frame, (dy, dx) in zip(frames, ((0, 0), move), strict=True):
        frame[:, 16 + dy : 32 + dy, 16 + dx : 32 + dx] = square
    flow, found = flow_of(*frames)
    own = torch.zeros(6, 6, dtype=torch.bool)
    own[2:4, 2:4] = True
    assert found[own].all() and (flow[:, own] == torch.tensor(move)[:, None]).all()
    untouched = ~own & ((frames[0] == frames[1]).all(0).unfold(0, 8, 8).unfold(1, 8, 8).all((2, 3)))
    assert untouched.sum() > 15 and found[untouched].all() and not flow[:, untouched].any()


def test_a_picture_that_moves_as_one_does_not_move() -> None:
    whole = noise(0, 3, SIZE + 8, SIZE + 8)
    obs, next_obs = whole[:, 4:-4, 4:-4], whole[:, 2:-6, 7:-1]  # by (2, -3)
    flow, found = flow_of(obs, next_obs)
    assert found[1:-1, 1:-1].all(), "the edges may have left the picture"
    assert not flow[:, found].any()


def test_what_moves_beyond_a_moving_camera_is_told_beyond_it() -> None:
    whole, square = noise(0, 3, SIZE + 8, SIZE + 8), noise(1, 3, 16, 16)
    obs, next_obs = whole[:, 4:-4, 4:-4].clone(), whole[:, 4:-4, 5:-3].clone()  # by (0, -1)
    obs[:, 16:32, 16:32] = square
    next_obs[:, 18:34, 15:31] = square  # by (2, -1)
    flow, found = flow_of(obs, next_obs)
    assert found[2:4, 2:4].all() and (flow[:, 2:4, 2:4] == torch.tensor([2, 0])[:, None, None]).all()


def test_a_block_that_became_something_else_is_not_found() -> None:
    obs = noise(0, 3, SIZE, SIZE)
    next_obs = obs.clone()
    next_obs[:, 16:24, 24:32] = noise(2, 3, 8, 8)
    flow, found = flow_of(obs, next_obs)
    assert not found[2, 3] and found.sum() == 35
    assert not flow[:, found].any()


def test_of_equal_matches_the_nearest_counts() -> None:
    stripes = (torch.arange(SIZE) % 3 == 0).float().expand(3, SIZE, SIZE)
    flow, found = flow_of(stripes, stripes)
    assert found.all() and not flow.any(), "a still pattern stands still, though it fits three pixels on, too"
    obs = torch.zeros(3, SIZE, SIZE)
    obs[:, 16:32, 16:32] = stripes[:, :16, 16:32]
    next_obs = torch.zeros(3, SIZE, SIZE)
    next_obs[:, 16:32, 17:33] = stripes[:, :16, 16:32]
    flow, found = flow_of(obs, next_obs, max_residual=0.9)
    assert found[2, 2] and flow[:, 2, 2].tolist() == [0, 1], "one to the right, not two to the left"


def test_the_loss_is_the_squared_error_in_blocks_where_blocks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from flexlam.lam.model import LatentActionModel

    model = LatentActionModel(lam_run().lam, (16, 16, 3))
    objective = OpticalFlow(OpticalFlow.Config(block_size=4, reach=2, dim=16, depth=0), model, None)
    obs = noise(0, 2, 3, 16, 16)
    next_obs = obs.clone()
    next_obs[:, :, 4:8, 4:8] = obs[:, :, 4:8, 2:6]
    batch = ObjectiveBatch(obs, next_obs, torch.zeros(2, 4, model.latent_dim))
    flow, found = block_flow(obs, next_obs, 4, 2, 0.5)
    assert flow[found.bool()[:, None].expand_as(flow)].any() and found.any()
    wanted = ((flow / 4).square().mean(1) * found).sum() / found.sum()
    assert torch.allclose(objective.loss(model, batch), wanted), "at first it predicts that nothing moves"
    lost = batch.obs.flip(0, 2, 3).roll(5, 3) * 3
    nothing = objective.loss(model, ObjectiveBatch(obs, lost + noise(9, 2, 3, 16, 16), batch.latents))
    monkeypatch.setattr(
        "flexlam.training.objectives.optical_flow.block_flow",
        lambda *_: (torch.ones(2, 2, 4, 4), torch.zeros(2, 4, 4)),
    )
    assert nothing.isfinite() and objective.loss(model, batch) == 0, "where nothing is found nothing is asked"

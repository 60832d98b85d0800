import pytest
import torch

from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch
from flexlam.training.objectives.features import FeaturePrediction
from tiny import lam_run


@pytest.fixture
def model() -> LatentActionModel:
    torch.manual_seed(0)
    return LatentActionModel(lam_run().lam, (16, 16, 3))


def objective(model: LatentActionModel, **changes: object) -> FeaturePrediction:
    values = {"patch_size": 8, "dim": 16, "depth": 1, "num_heads": 2} | changes
    return FeaturePrediction(FeaturePrediction.Config(**values), model, None)


def batch_of(model: LatentActionModel, obs: torch.Tensor) -> ObjectiveBatch:
    return ObjectiveBatch(obs, obs.flip(0), torch.zeros(len(obs), 4, model.latent_dim))


def different() -> torch.Tensor:
    return torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("momentum", [0.0, 0.75, 1.0])
def test_the_copy_follows_in_training_by_what_the_momentum_leaves(model: LatentActionModel, momentum: float) -> None:
    features = objective(model, momentum=momentum)
    with torch.no_grad():
        for parameter in features.features.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in features.following.parameters()]
    features.eval().loss(model, batch_of(model, different()))
    assert all(torch.equal(a, b) for a, b in zip(before, features.following.parameters(), strict=True))
    features.train().loss(model, batch_of(model, different()))
    for old, now, fast in zip(before, features.following.parameters(), features.features.parameters(), strict=True):
        torch.testing.assert_close(now, momentum * old + (1 - momentum) * fast)


def test_the_copy_is_not_trained(model: LatentActionModel) -> None:
    features = objective(model)
    features.loss(model, batch_of(model, different())).backward()
    assert not any(p.requires_grad or p.grad is not None for p in features.following.parameters())
    assert all(p.grad is not None for p in features.features.parameters())


def test_features_that_say_the_same_of_every_frame_pay_for_it(model: LatentActionModel) -> None:
    def hinge(obs: torch.Tensor, scale: float = 1.0) -> float:
        losses = []
        for weight in (0.0, 2.0):
            torch.manual_seed(0)
            features = objective(model, spread_weight=weight).eval()
            with torch.no_grad():
                features.features.embed.weight.mul_(scale)
            losses.append(features.loss(model, batch_of(model, obs)).item())
        return (losses[1] - losses[0]) / 2

    same = torch.zeros(8, 3, 16, 16)
    assert hinge(same) == pytest.approx(0.99, abs=0.01), "the whole of it"
    assert 0 < hinge(different()) < 0.95
    assert hinge(different(), scale=100.0) < 0.02, "nothing is gained beyond a spread of one"

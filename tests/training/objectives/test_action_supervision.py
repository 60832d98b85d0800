import pytest
import torch

from flexlam.core.action import ActionSpec
from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.action_supervision import ActionSupervision
from flexlam.training.objectives.base import ObjectiveBatch
from moving_square import DISCRETE
from tiny import lam_run

SPEC = ActionSpec(num_choices=(3,), num_continuous=1)


@pytest.fixture
def model() -> LatentActionModel:
    torch.manual_seed(0)
    return LatentActionModel(lam_run().lam, (16, 16, 3))


def batch_of(latents: torch.Tensor, action: torch.Tensor) -> ObjectiveBatch:
    """Unlabelled rows are of no interest."""
    frames = torch.full((len(latents), 3, 16, 16), float("nan"))
    return ObjectiveBatch(frames, frames, torch.full_like(latents, float("nan")), None, latents, action)


def test_it_is_cross_entropy_and_squared_error_in_standard_deviations(model: LatentActionModel) -> None:
    objective = ActionSupervision(ActionSupervision.Config(), model, SPEC)
    objective.fit(torch.tensor([[0, 10.0], [1, 30.0]]))
    for parameter in objective.head.project.parameters():
        torch.nn.init.zeros_(parameter)  # it answers the mean and has no favourite
    latents, chance = torch.randn(2, 4, model.latent_dim), float(torch.tensor(3.0).log())

    def loss(first: float) -> float:
        return float(objective.loss(model, batch_of(latents, torch.tensor([[0, first], [2, 20.0]]))).detach())

    assert loss(20.0) == pytest.approx(chance, abs=1e-5)
    far = 20.0 + 2 * float(objective.codec.std)
    assert objective.codec.std > 5 and loss(far) == pytest.approx(chance + 2**2 / 2, abs=1e-4)


def test_actions_that_stand_in_the_latents_are_learned(model: LatentActionModel) -> None:
    torch.manual_seed(1)
    objective = ActionSupervision(ActionSupervision.Config(), model, DISCRETE)
    actions = torch.randint(0, 5, (64, 1)).float()
    latents = torch.randn(5, 4, model.latent_dim)[actions[:, 0].long()]
    losses = []
    for _ in range(30):
        loss = objective.loss(model, batch_of(latents, actions))
        loss.backward()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for parameter in objective.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
    assert losses[0] == pytest.approx(1.61, abs=0.2) and losses[-1] < 0.3

import torch

from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch
from flexlam.training.objectives.cross_exogenous import CrossExogenous
from flexlam.training.objectives.reconstruction import Reconstruction
from tiny import lam_run


def test_it_decodes_the_twin_and_reads_nothing_of_the_frames_that_were_encoded() -> None:
    torch.manual_seed(0)
    model = LatentActionModel(lam_run().lam, (16, 16, 3))
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    obs, next_obs, twin_obs, twin_next = torch.rand(4, 5, 3, 16, 16) * 2 - 1
    latents = torch.randn(5, 4, model.latent_dim)
    objective = CrossExogenous(CrossExogenous.Config(), model, None)
    loss = objective.loss(model, ObjectiveBatch(obs, next_obs, latents, (twin_obs, twin_next)))
    assert torch.equal(loss, model.decoder.loss(twin_obs, twin_next, latents))
    assert torch.equal(loss, objective.loss(model, ObjectiveBatch(-obs, -next_obs, latents, (twin_obs, twin_next))))
    plain = Reconstruction(Reconstruction.Config(), model, None)
    assert torch.equal(
        plain.loss(model, ObjectiveBatch(obs, next_obs, latents)), model.decoder.loss(obs, next_obs, latents)
    )

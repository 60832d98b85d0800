"""What every entry of the catalogue owes: a newcomer is tested by being listed."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from flexlam.core import catalog
from flexlam.core.action import ActionSpec
from flexlam.core.config import ComponentConfig, component
from flexlam.core.errors import ConfigError
from flexlam.lam.model import LatentActionModel
from flexlam.training.objectives.base import ObjectiveBatch
from flexlam.training.policy import PolicyRunConfig

FRAME_SHAPE = (16, 32, 3)
ENTRIES = [(kind, name) for kind in catalog.CATALOG for name in catalog.names(kind)]
CHOSEN_BY_NAME = ("encoder", "quantizer", "decoder", "objective", "policy", "translator")
NAMED = [(kind, name) for kind, name in ENTRIES if kind in CHOSEN_BY_NAME]


def of_kind(kind: str) -> list[str]:
    return catalog.names(kind)


def look_up(kind: str, name: str) -> Any:
    """The entry; a skip that names the package where an optional one is missing."""
    try:
        return catalog.lookup(kind, name)
    except ConfigError as error:
        if "which is not installed" in str(error):
            pytest.skip(str(error))
        raise


def images(batch: int) -> torch.Tensor:
    height, width, channels = FRAME_SHAPE
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(batch)) * 2 - 1


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_every_entry_can_be_imported_and_says_what_it_is(kind: str, name: str) -> None:
    entry = look_up(kind, name)
    assert callable(entry) and entry.__module__.startswith("flexlam.")
    assert entry.__doc__ and entry.__doc__.strip()


@pytest.mark.parametrize("kind", sorted(catalog.CATALOG))
def test_a_misspelt_name_is_answered_for_every_kind(kind: str) -> None:
    name = catalog.names(kind)[0]
    with pytest.raises(ConfigError, match=rf"There is no {kind} called '{name}x'\. Did you mean '{name}'"):
        catalog.lookup(kind, name + "x")


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_settings_are_found_by_their_name_alone(kind: str, name: str) -> None:
    config_class = look_up(kind, name).Config
    assert issubclass(config_class, ComponentConfig)
    assert (config_class.kind, config_class().name) == (kind, name)
    # The class that declares the kind reads any of its members.
    base = next(c for c in reversed(config_class.__mro__) if "kind" in vars(c))
    config = config_class()
    plain = json.loads(json.dumps(config.model_dump(mode="json")))
    again = base.parse(plain)
    assert type(again) is config_class and again == config and again.hash() == config.hash()
    assert component(base) is not None


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_every_setting_has_a_text_for_the_help(kind: str, name: str) -> None:
    fields = look_up(kind, name).Config.model_fields
    assert not [field for field, info in fields.items() if field != "name" and not info.description]


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_an_unknown_setting_is_an_error(kind: str, name: str) -> None:
    with pytest.raises(ConfigError, match="no_such_setting: unknown setting"):
        look_up(kind, name).Config.parse({"name": name, "no_such_setting": 1})


@pytest.mark.parametrize("name", of_kind("quantizer"))
def test_quantizers(name: str) -> None:
    quantizer_class = look_up("quantizer", name)
    quantizer = quantizer_class(quantizer_class.Config(), 3).eval()
    dim = quantizer.latent_dim
    x = torch.randn(8, 3, dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
    latents, indices, penalty = quantizer(x)
    assert latents.shape == (8, 3, dim) and indices.shape == (8, 3)
    assert not indices.is_floating_point() and indices.min() >= 0 and indices.max() < quantizer.codebook_size
    assert penalty.shape == () and penalty >= 0
    latents.sum().backward()
    assert x.grad.abs().max() > 0, "gradients pass through"
    torch.testing.assert_close(
        quantizer.indices_to_latents(indices), latents.detach(), rtol=0, atol=quantizer.step / 2 + 1e-6
    )
    assert quantizer.indices_to_latents(indices[0, :2]).shape == (2, dim)
    assert quantizer.distance_to_codes(latents[0, 0]) == pytest.approx(0, abs=1e-6)
    made_up = 3 * torch.randn(4, 5, 3, dim, generator=torch.Generator().manual_seed(1))
    projected, found = quantizer.project(made_up)
    assert projected.shape == made_up.shape and found.shape == (4, 5, 3)
    assert max(quantizer.distance_to_codes(vector) for vector in projected.flatten(0, 2)) < 1e-6
    torch.testing.assert_close(quantizer.indices_to_latents(found), projected, rtol=0, atol=quantizer.step / 2 + 1e-6)
    again, same = quantizer.project(latents.detach())
    torch.testing.assert_close(again, latents.detach())
    assert torch.equal(same, indices), "what was encoded stays"
    assert quantizer.project(made_up[:, :, :0])[1].shape == (4, 5, 0)
    torch.testing.assert_close(quantizer.hold(projected), projected)
    held = quantizer.hold(made_up.requires_grad_())
    held.sum().backward()
    assert torch.equal(made_up.grad == 0, held != made_up) and (held != made_up).any(), "no gradient at the edge"
    assert quantizer.null_init().shape == (dim,)
    assert quantizer.distance_to_codes(quantizer.null_init()) > 0.1


@pytest.mark.parametrize("name", of_kind("encoder"))
def test_encoders(name: str) -> None:
    encoder_class = look_up("encoder", name)
    encoder = encoder_class(encoder_class.Config(), FRAME_SHAPE, 3, 5).eval()
    with torch.no_grad():
        slots = encoder(images(2), images(2).flip(0))
        assert slots.shape == (2, 3, 5)
        torch.testing.assert_close(encoder(images(2)[:1], images(2)[1:]), slots[:1], rtol=1e-4, atol=1e-5)
        assert encoder(images(2)[:0], images(2)[:0]).shape == (0, 3, 5)


@pytest.mark.parametrize("name", of_kind("decoder"))
def test_decoders(name: str) -> None:
    decoder_class = look_up("decoder", name)
    decoder = decoder_class(decoder_class.Config(), FRAME_SHAPE, 3, 5).eval()
    obs, latents = images(2), torch.randn(2, 3, 5, requires_grad=True)
    loss = decoder.loss(obs, obs.flip(0), latents, torch.Generator().manual_seed(0))
    assert loss.shape == () and loss.isfinite()
    with torch.no_grad():
        predicted = decoder.predict(obs, latents)
        assert predicted.shape == obs.shape and predicted.dtype == torch.float32
        assert torch.equal(predicted, decoder.predict(obs, latents)), "the mean frame is deterministic"
        torch.testing.assert_close(decoder.predict(obs[1:], latents[1:]), predicted[1:], rtol=1e-4, atol=1e-5)
        draws = [decoder.sample(obs, latents, 2, torch.Generator().manual_seed(0)) for _ in range(2)]
        assert draws[0].shape == obs.shape and torch.equal(*draws)
        assert decoder.predict(obs[:0], latents[:0]).shape == (0, *obs.shape[1:])


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("name", of_kind("objective"))
def test_objectives(name: str, moves: bool) -> None:
    objective_class = look_up("objective", name)
    torch.manual_seed(0)
    small = {"patch_size": 8, "dim": 16, "depth": 1, "num_heads": 2}
    values = {"num_slots": 3, "encoder": {"name": "pair", **small}, "decoder": {"name": "regression", **small}}
    model = LatentActionModel(LatentActionModel.Config.parse(values), FRAME_SHAPE)
    spec = ActionSpec(num_choices=(4,), num_continuous=2)
    objective = objective_class(objective_class.Config(), model, spec).eval()  # a following copy stands still
    flags = ("needs_twin", "needs_labels", "trains_decoder")
    assert all(type(getattr(objective_class, flag)) is bool for flag in flags)
    if objective.needs_labels:
        labels = objective_class.Config()
        assert labels.labels.count and labels.batch_size and labels.draw == 0
        objective.fit(torch.tensor([[0, 0.1, 5.0], [3, 0.3, 9.0]]))
    for module in (model, objective):  # what starts at zero, so that frames are copied, passes no gradient at first
        for parameter in module.parameters():
            if parameter.requires_grad and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    obs = images(4)
    next_obs = obs.roll(2, -1) if moves else obs
    for k in range(model.num_slots + 1):
        latents = torch.randn(4, 3, model.latent_dim, requires_grad=True)
        filled, _ = model.prefix(latents, prefix_length=k)
        batch = ObjectiveBatch(
            obs=obs,
            next_obs=next_obs,
            latents=filled,
            twin=(-obs, -next_obs) if objective.needs_twin else None,
            labelled_latents=filled if objective.needs_labels else None,
            action=torch.tensor([[1.0, 0.2, 6.0]] * 4) if objective.needs_labels else None,
        )
        loss = objective.loss(model, batch, torch.Generator().manual_seed(0))
        assert loss.shape == () and loss.isfinite() and loss >= 0
        assert torch.equal(loss, objective.loss(model, batch, torch.Generator().manual_seed(0)))
        if name == "none":
            assert not loss.requires_grad and not loss
            continue
        loss.backward()
        assert latents.grad.isfinite().all()
        assert bool(latents.grad[:, :k].any()) == (k > 0), "it asks something of the latents"
        decoder = [p.grad is not None and bool(p.grad.any()) for p in model.decoder.parameters()]
        assert any(decoder) == objective.trains_decoder
        model.zero_grad()


@pytest.mark.parametrize("name", of_kind("policy"))
def test_policies(name: str) -> None:
    policy_class = look_up("policy", name)
    assert all(type(getattr(policy_class, flag)) is bool for flag in ("reads_codes", "draws", "nested"))
    assert policy_class.usual_samples >= 1
    kinds = [look_up("policy", other).kind for other in of_kind("policy")]
    assert kinds.count(policy_class.kind) == 1, "its bundles are told apart from the others'"
    for method in ("decider", "random_numbers", "save_pretrained", "from_pretrained"):
        assert callable(getattr(policy_class, method))
    assert PolicyRunConfig.parse({"policy": {"name": name}}).policy == policy_class.Config()


@pytest.mark.parametrize("encoder", of_kind("encoder"))
@pytest.mark.parametrize("quantizer", of_kind("quantizer"))
@pytest.mark.parametrize("decoder", of_kind("decoder"))
def test_every_combination_makes_a_model(encoder: str, quantizer: str, decoder: str) -> None:
    values = {"num_slots": 2, "encoder": {"name": encoder}, "quantizer": {"name": quantizer}}
    model = LatentActionModel(LatentActionModel.Config.parse({**values, "decoder": {"name": decoder}}), FRAME_SHAPE)
    frames = np.random.default_rng(0).integers(0, 256, (2, *FRAME_SHAPE), dtype=np.uint8)
    codes = model.encode(frames, frames[::-1])
    assert model.decode(frames, codes, prefix_length=1).shape == frames.shape
    null = model.prefix.null_latent.detach()
    assert model.quantizer.distance_to_codes(null) > 0.1

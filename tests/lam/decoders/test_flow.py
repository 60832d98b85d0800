import pydantic
import pytest
import torch

from flexlam.lam.decoders.flow import FlowDecoder

SMALL = {"patch_size": 4, "dim": 16, "depth": 1, "num_heads": 2}


def build(**changes: float) -> FlowDecoder:
    torch.manual_seed(0)
    decoder = FlowDecoder(FlowDecoder.Config(**{**SMALL, **changes}), (8, 12, 3), 3, 5)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if "modulation" in name or "head" in name:
                parameter.normal_(std=0.3)
    return decoder


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


OBS, LATENTS = torch.rand(3, 3, 8, 12, generator=seeded(1)), torch.randn(3, 3, 5, generator=seeded(2))


def test_the_prediction_is_one_step_from_pure_noise() -> None:
    decoder = build()
    noise = torch.randn(1, 3, 8, 12, generator=seeded()).expand(3, -1, -1, -1)
    expected = decoder._denoise(OBS, LATENTS, noise, torch.ones(3))
    assert torch.equal(decoder.predict(OBS, LATENTS), expected)


def test_the_prediction_of_a_frame_does_not_hang_on_its_place_in_the_batch() -> None:
    decoder = build()
    whole = decoder.predict(OBS, LATENTS)
    torch.testing.assert_close(decoder.predict(OBS.flip(0), LATENTS.flip(0)).flip(0), whole)
    torch.testing.assert_close(decoder.predict(OBS[2:], LATENTS[2:]), whole[2:])


def test_samples_follow_their_generator_and_differ_within_a_batch() -> None:
    decoder = build()
    first, again, other = (decoder.sample(OBS, LATENTS, 4, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    same = decoder.sample(OBS[:1].expand(3, -1, -1, -1), LATENTS[:1].expand(3, -1, -1), 4, seeded(1))
    assert not torch.allclose(same[0], same[1])


def test_loss_is_the_error_of_the_clean_frame() -> None:
    decoder = build(pure_noise_share=1.0)
    next_obs = torch.rand(3, 3, 8, 12, generator=seeded(3))
    loss = decoder.loss(OBS, next_obs, LATENTS, seeded())
    generator = seeded()
    torch.randn(3, generator=generator), torch.rand(3, generator=generator)  # the draws of the times
    noise = torch.randn(3, 3, 8, 12, generator=generator)
    expected = (decoder._denoise(OBS, LATENTS, noise, torch.ones(3)) - next_obs).square().mean()
    torch.testing.assert_close(loss, expected)


def test_at_pure_noise_only_the_latents_can_tell_and_the_decoder_listens() -> None:
    """Brightness of the next frame is given by the first latent; prediction must follow it after some training."""
    decoder, generator = build(), seeded()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    obs = torch.zeros(32, 3, 8, 12)
    for _ in range(200):
        latents = torch.rand(32, 3, 5, generator=generator) * 2 - 1
        next_obs = latents[:, 0, 0].view(-1, 1, 1, 1).expand(32, 3, 8, 12)
        loss = decoder.loss(obs, next_obs, latents, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = (decoder.predict(obs, latents) - next_obs).square().mean()
        shuffled = (decoder.predict(obs, latents.roll(1, 0)) - next_obs).square().mean()
    assert error < 0.25 * shuffled


@pytest.mark.parametrize("change", [{"pure_noise_share": 1.5}, {"pure_noise_share": -0.1}, {"time_std": -1.0}])
def test_impossible_time_densities_are_refused(change: dict) -> None:
    with pytest.raises(pydantic.ValidationError, match=next(iter(change))):
        FlowDecoder.Config(**change)

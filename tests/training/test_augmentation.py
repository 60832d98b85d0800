import torch

from flexlam.training.augmentation import AugmentationConfig, shift_frames


def test_shifted_frames_keep_their_size_and_repeat_their_edges() -> None:
    frames = torch.arange(36, dtype=torch.uint8).view(1, 6, 6, 1).repeat(50, 1, 1, 2)
    moved = shift_frames(frames, 2, torch.Generator().manual_seed(0))
    assert moved.shape == frames.shape
    assert torch.equal(moved[..., 0], moved[..., 1]), "what lies one behind the other moves alike"
    possible = []
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            rows, columns = (torch.arange(6) + dy).clamp(0, 5), (torch.arange(6) + dx).clamp(0, 5)
            possible.append(frames[0][rows][:, columns])
    found = {next(i for i, wanted in enumerate(possible) if torch.equal(frame, wanted)) for frame in moved}
    assert len(found) > 15, "offsets differ"
    assert torch.equal(shift_frames(frames, 0, torch.Generator()), frames)


def noise(batch: int = 20, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 8, 8, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_by_default_nothing_changes_and_nothing_is_drawn() -> None:
    generator = seeded()
    assert torch.equal(AugmentationConfig().change(noise(), generator), noise())
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_frames_side_by_side_are_changed_alike() -> None:
    config = AugmentationConfig(max_shift=2, brightness=0.5)
    one, other = config.change(noise().repeat(1, 1, 1, 2), seeded()).chunk(2, dim=-1)
    assert torch.equal(one, other) and not torch.equal(one, noise())
    first, second = (config.change(noise(), seeded(seed)) for seed in (0, 1))
    assert torch.equal(first, one) and not torch.equal(first, second)


def test_brightness_is_a_factor_of_each_transition_within_the_range() -> None:
    frames = torch.full((400, 2, 2, 3), 64, dtype=torch.uint8)
    changed = AugmentationConfig(brightness=0.25).change(frames, seeded())
    assert (changed == changed[:, :1, :1, :1]).all() and changed.dtype == torch.uint8
    stops = (changed[:, 0, 0, 0] / 64).log2()
    assert abs(float(stops.std()) - 0.25) < 0.03 and abs(float(stops.mean())) < 0.05
    bright = AugmentationConfig(brightness=2.0).change(torch.full_like(frames, 250), seeded())
    assert int(bright.max()) == 255 and int(bright.min()) < 60, "what is too bright stays white"

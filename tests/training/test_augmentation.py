import torch

from flexlam.training.augmentation import shift_frames


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

import torch

from flexlam.core.types import Codes, Transitions


def test_vocabulary_prints_shapes_not_numbers() -> None:
    codes = Codes(torch.zeros(2, 4, dtype=torch.long), torch.zeros(2, 4, 3))
    assert repr(codes) == "Codes(indices=int64[2, 4], latents=float32[2, 4, 3])"
    frames = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    text = repr(Transitions(frames, frames))
    assert text.startswith("Transitions(obs=uint8[2, 8, 8, 3]") and "action=None" in text

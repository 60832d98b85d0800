"""Do codes tell of motion that is none of the agent's? Texture is pasted in, and scenes cut: no labels, no truth."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core.errors import DataError
from flexlam.core.seeding import numpy_generator
from flexlam.core.types import Codes, Transitions
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel

_SHARE = (0.15, 0.4)
"""Least and greatest share of the picture that a pasted clip covers."""


class SwapTest:
    """Moving texture of other episodes pasted over random rectangles; and second frames of other episodes (cuts).

    Raises:
        DataError: there are not three test episodes to take clips from.
    """

    def __init__(
        self, model: LatentActionModel, store: FrameStore, index: TransitionIndex, num_transitions: int, seed: int
    ) -> None:
        generator = numpy_generator(seed, "swaps")
        rows = generator.permutation(len(index))[:num_transitions]
        if len(np.unique(index.episode[rows])) < 3:
            raise DataError(
                f"{store.path} has fewer than three test episodes, and the swap test takes clips from others than the "
                "one they are pasted into. Add videos, or give --pairs.split a larger share for testing when training."
            )
        donors = [_of_other_episodes(index.episode, rows, generator) for _ in range(2)]
        base, *clips = (index.batch(store, r, with_actions=False) for r in (rows, *donors))
        self.cut = clips[0].next_obs
        clips = [scrambled(clip, generator) for clip in clips]
        inside = _rectangles(len(rows), store.frame_shape[:2], generator)
        pasted = [
            (torch.where(inside, clip.obs, base.obs), torch.where(inside, clip.next_obs, base.next_obs))
            for clip in clips
        ]
        self.pasted, self.inside = pasted[0], inside
        self.own, self.other = (model.encode(*frames).latents.cpu() for frames in pasted)
        self.model, self.base = model, base
        self.cut_latents = model.encode(base.obs, self.cut).latents.cpu()
        self.empty_error = self._cut_error(0)

    def measure(self, k: int) -> dict[str, float]:
        """Of the first k slots: the swap score, and how much of a cut they let the decoder make up.

        The swap score is the share of the decoding error inside the pasted rectangle that the code takes away, compared
        with the code of the same transition under another clip: 0 where codes say nothing of how the texture moved.
        `cut_explained` is the share of the decoding error without a code that codes take away when the second frame is
        of another video: where it is high they describe pictures.
        """
        if k == 0:
            return {"swap_score": 0.0, "cut_explained": 0.0}
        own, other = (self._error_inside(latents, k) for latents in (self.own, self.other))
        explained = 1 - self._cut_error(k) / self.empty_error if self.empty_error > 0 else 0.0
        return {"swap_score": 1 - own / other if other > 0 else 0.0, "cut_explained": explained}

    def _error_inside(self, latents: Float[Tensor, "N K D"], k: int) -> float:
        """Squared error of the pasted clip's next frame, decoded from the pasted transition's first frame."""
        obs, next_obs = self.pasted
        errors = (self._decode(obs, latents, k).float() - next_obs.float()).square()
        return float((errors * self.inside).sum())

    def _decode(self, obs: Tensor, latents: Float[Tensor, "N K D"], k: int) -> Tensor:
        codes = Codes(torch.zeros(latents.shape[:-1], dtype=torch.long), latents)
        frames: Tensor = self.model.decode(obs, codes, prefix_length=k).cpu()
        return frames

    def _cut_error(self, k: int) -> float:
        decoded = self._decode(self.base.obs, self.cut_latents, k)
        return float((decoded.float() - self.cut.float()).square().mean())


def scrambled(clip: Transitions, generator: np.random.Generator) -> Transitions:
    """Both frames with the same random phases added to their spatial frequencies.

    It moves, and is as bright and as rough, as before, but things in it are things no more: a pasted agent would be an
    agent, and codes that tell of it would not be to blame.
    """
    frames = torch.stack([clip.obs, clip.next_obs]).double().movedim(-1, 2)  # (2, N, C, H, W)
    noise = torch.from_numpy(generator.standard_normal((frames.shape[1], 1, *frames.shape[-2:])))
    turn = torch.fft.rfft2(noise)
    turn = turn / turn.abs().clamp_min(1e-12)
    turn[..., 0, 0] = 1  # the mean stays
    mixed = torch.fft.irfft2(torch.fft.rfft2(frames) * turn, s=frames.shape[-2:])
    obs, next_obs = mixed.round().clamp(0, 255).to(torch.uint8).movedim(2, -1)
    return Transitions(obs, next_obs)


def _of_other_episodes(episode: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random row for each given one, of another episode."""
    found: np.ndarray = generator.integers(0, len(episode), len(rows))
    while (same := episode[found] == episode[rows]).any():
        found[same] = generator.integers(0, len(episode), int(same.sum()))
    return found


def _rectangles(count: int, size: tuple[int, int], generator: np.random.Generator) -> Tensor:
    """(N, H, W, 1) bool: a random rectangle in each picture."""
    height, width = size
    share = generator.uniform(*_SHARE, count)
    shape = np.exp(generator.uniform(-0.4, 0.4, count))
    tall = np.clip(np.round(height * np.sqrt(share) * shape), 1, height).astype(int)
    wide = np.clip(np.round(width * np.sqrt(share) / shape), 1, width).astype(int)
    top, left = (np.floor(generator.random(count) * (most + 1)).astype(int) for most in (height - tall, width - wide))
    y, x = np.arange(height)[:, None], np.arange(width)
    inside = (
        (y >= top[:, None, None])
        & (y < (top + tall)[:, None, None])
        & (x >= left[:, None, None])
        & (x < (left + wide)[:, None, None])
    )
    return torch.from_numpy(inside[..., None])

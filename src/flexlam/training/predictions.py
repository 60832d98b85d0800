"""Latent actions that a policy predicts for recorded transitions, from what lies before them."""

import numpy as np
import torch
from jaxtyping import Float

from flexlam.core.seeding import torch_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.base import Policy
from flexlam.policy.context import window_start
from flexlam.policy.decoding import Decoding
from flexlam.policy.frames import FramePolicy
from flexlam.training.frame_policy import leading_images

_CHUNK = 64  # windows computed at once
_NUM_FRAMES = 1024  # frames that a policy of frames sees at once


@torch.inference_mode()
def predict_latents(
    lam: LatentActionModel,
    policy: Policy,
    store: FrameStore,
    index: TransitionIndex,
    rows: np.ndarray,
    num_samples: int,
    seed: int,
    num_steps: int,
    prefix_length: int | None = None,
) -> Float[torch.Tensor, "R S K D"]:
    """Valid latents drawn S times for transitions (R,) of an index, on the CPU: what an agent's translator is given.

    A flow takes `num_steps` Euler steps and, like the agent, is asked for the first k slots (all by default); behind
    them stand zeros. Of other policies a prefix of a draw is a draw of that prefix, so they always tell all K slots.
    """
    if isinstance(policy, SequenceModel):
        drawn = predict_codes(lam, policy, store, index, rows, num_samples, seed).to(lam.device)
        return lam.quantizer.indices_to_latents(drawn.flatten(0, 1)).cpu().unflatten(0, drawn.shape[:2])
    assert isinstance(policy, FramePolicy)
    noise = torch.randn(len(rows), num_samples, *policy.centre.shape, generator=torch_generator(seed, "predictions"))
    return carry(lam, policy, store, index, rows, noise, num_steps, prefix_length=prefix_length)


@torch.inference_mode()
def carry(
    lam: LatentActionModel,
    policy: FramePolicy,
    store: FrameStore,
    index: TransitionIndex,
    rows: np.ndarray,
    points: Float[torch.Tensor, "R S K D"],
    num_steps: int,
    time: float = 0.0,
    prefix_length: int | None = None,
) -> Float[torch.Tensor, "R S K D"]:
    """Valid latents to which a policy carries normalised points of a time τ (see `FramePolicy.generate`)."""
    k = policy.num_slots if prefix_length is None else prefix_length
    decider = policy.decider(1, points.shape[1], num_steps)
    latents = torch.zeros(points.shape)
    for chunk in np.array_split(np.arange(len(rows)), max(1, -(-len(rows) * policy.config.num_frames // _NUM_FRAMES))):
        features = policy.features(leading_images(policy, store, index, rows[chunk]))
        drawn = policy.generate(features, points[chunk].to(policy.device), k, num_steps, time)
        latents[chunk] = decider.latents(drawn, lam.quantizer)[0].cpu()
    return latents


@torch.inference_mode()
def predict_codes(
    lam: LatentActionModel,
    policy: SequenceModel,
    store: FrameStore,
    index: TransitionIndex,
    rows: np.ndarray,
    num_samples: int,
    seed: int,
) -> torch.Tensor:
    """Codes (R, S, K) drawn S times for transitions (R,) of an index, given the true history up to o_t.

    The context is the one in which the agent would decide at that step. A prefix of a draw is a draw of that prefix.
    """
    config = policy.config
    starts = np.array([window_start(int(step), config.context_frames, config.stride) for step in index.step[rows]])
    lengths = index.step[rows] - starts  # blocks in the window of each
    drawn = torch.zeros(len(rows), num_samples, policy.num_slots, dtype=torch.long)
    generator = torch_generator(seed, "predictions")
    uniforms = torch.rand(len(rows), num_samples, policy.num_slots, generator=generator)
    # Rows of one episode follow each other, so a window's frames and codes are those of the rows before.
    seen = [row - np.arange(length + 1) for row, length in zip(rows, lengths, strict=True)]
    needed = np.unique(np.concatenate([rows, *seen]))
    chunks = np.array_split(needed, max(1, -(-len(needed) // _CHUNK)))
    known = torch.cat([_encode(lam, store, index, chunk) for chunk in chunks])
    for num_blocks in np.unique(lengths):
        members = np.flatnonzero(lengths == num_blocks)
        for chunk in np.array_split(members, -(-len(members) // _CHUNK)):
            window = rows[chunk][:, None] + np.arange(-num_blocks, 1)
            frames = torch.from_numpy(store.frames(index.first[window.ravel()]))
            images = frames_to_images(frames.to(policy.device)).unflatten(0, window.shape)
            codes = known[np.searchsorted(needed, window[:, :-1])]
            decoding = Decoding(policy, len(chunk), num_samples)
            hidden = decoding.enter(images, codes)
            numbers = uniforms[chunk].to(policy.device)
            drawn[chunk] = decoding.draw(hidden, policy.num_slots, numbers).cpu()
    return drawn


def _encode(lam: LatentActionModel, store: FrameStore, index: TransitionIndex, rows: np.ndarray) -> torch.Tensor:
    batch = index.batch(store, rows, with_actions=False)
    return lam.encode(batch.obs, batch.next_obs).indices

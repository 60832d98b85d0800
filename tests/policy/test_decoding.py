"""The cache changes nothing: against one uncached pass over the same window, and against other batches."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.context import window_start
from flexlam.policy.decoding import Decoding
from small_policy import NUM_SLOTS, episode, sequence_model


def uncached(model: SequenceModel, images: Tensor, codes: Tensor, start: int, step: int, drawn: Tensor) -> Tensor:
    """Scores (k, C) of the codes of a step in one causal pass: the window as Appendix B.1 writes it, then the draws."""
    parts = []
    for t in range(start, step):
        if t % model.config.stride == 0:
            parts.append(model.embed_images(images[t : t + 1]))
        parts.append(model.embed_codes(codes[t : t + 1]))
    parts += [model.embed_images(images[step : step + 1]), model.embed_codes(drawn[None, :-1])]
    tokens = torch.cat(parts, dim=1)
    count = tokens.shape[1]
    mask = torch.ones(count, count, dtype=torch.bool).tril()[None, None]
    hidden = model.transformer(tokens, torch.arange(count)[None], mask)
    return model.head(hidden[0, -len(drawn) :])


@torch.inference_mode()
@pytest.mark.parametrize(("context_frames", "stride"), [(10, 4), (34, 8), (9, 8), (5, 1)])
def test_cached_decisions_equal_one_uncached_pass_at_200_successive_steps(context_frames: int, stride: int) -> None:
    model = sequence_model(context_frames, stride)
    images, codes = episode(200, seed=1)
    decoding = Decoding(model, 1, num_samples=2)
    decoding.reset(0)
    uniforms = torch.rand(200, 1, 2, NUM_SLOTS, generator=torch.Generator().manual_seed(2))
    start, moves, largest = 0, 0, 0.0
    for step in range(200):
        before = codes[max(step - 1, 0)][None]
        hidden = decoding.observe(images[step][None], before, np.array([True]))
        scores: list[Tensor] = []
        drawn = decoding.draw(hidden, NUM_SLOTS, uniforms[step], scores)
        moved = window_start(step, context_frames, stride)
        start, moves = moved, moves + (moved != start)
        assert step - start < context_frames
        for sample in range(2):
            expected = uncached(model, images, codes, start, step, drawn[0, sample])
            largest = max(largest, float((torch.stack(scores, 2)[0, sample] - expected).abs().max()))
    assert moves == math.ceil((200 - context_frames) / stride)
    assert largest < 1e-4, f"cached and uncached scores differ by up to {largest:g}"


@torch.inference_mode()
@pytest.mark.parametrize("num_samples", [1, 3])
def test_many_episodes_at_steps_of_their_own_equal_each_alone(num_samples: int) -> None:
    model, num_rows = sequence_model(), 4
    begins = [0, 3, 3, 17]  # global step at which each row's episode begins; row 1 begins a second one at 30
    episodes = {(row, first): episode(60, seed=10 * row + first) for row, first in enumerate(begins)}
    episodes[1, 30] = episode(60, seed=99)
    together = Decoding(model, num_rows, num_samples=num_samples)
    alone: dict[int, tuple[Decoding, int]] = {}
    generator = torch.Generator().manual_seed(3)
    compared = 0
    for step in range(60):
        for row, first in episodes:
            if first == step:
                together.reset(row)
                alone[row] = Decoding(model, 1, num_samples=num_samples), first
        active = np.array([row in alone and not (row == 2 and step % 7 == 0) for row in range(num_rows)])
        images, codes = torch.zeros(num_rows, 3, 8, 8), torch.zeros(num_rows, NUM_SLOTS, dtype=torch.long)
        played = {row: single.step(0) + 1 for row, (single, _) in alone.items() if active[row]}
        for row, t in played.items():
            images[row] = episodes[row, alone[row][1]][0][t]
            codes[row] = episodes[row, alone[row][1]][1][max(t - 1, 0)]
        uniforms = torch.rand(num_rows, num_samples, NUM_SLOTS, generator=generator)
        scores: list[Tensor] = []
        drawn = together.draw(together.observe(images, codes, active), NUM_SLOTS, uniforms, scores)
        for row in played:
            single = alone[row][0]
            hidden = single.observe(images[row : row + 1], codes[row : row + 1], np.array([True]))
            one_scores: list[Tensor] = []
            one_drawn = single.draw(hidden, NUM_SLOTS, uniforms[row : row + 1], one_scores)
            assert torch.equal(one_drawn[0], drawn[row])
            torch.testing.assert_close(torch.stack(one_scores, 2)[0], torch.stack(scores, 2)[row], atol=1e-4, rtol=1e-4)
            compared += 1
    assert compared > 150


@torch.inference_mode()
@pytest.mark.parametrize("step", [0, 3, 4, 9, 10, 41])
def test_entering_in_the_middle_equals_having_seen_every_step(step: int) -> None:
    model = sequence_model()
    images, codes = episode(60, seed=5)
    walked, jumped = Decoding(model, 1), Decoding(model, 1)
    for t in range(step + 1):
        hidden = walked.observe(images[t][None], codes[max(t - 1, 0)][None], np.array([True]))
    start = window_start(step, 10, 4)
    entered = jumped.enter(images[None, start : step + 1], codes[None, start:step])
    torch.testing.assert_close(entered, hidden, atol=1e-4, rtol=1e-4)
    following = images[step + 1][None], codes[step][None], np.array([True])
    torch.testing.assert_close(jumped.observe(*following), walked.observe(*following), atol=1e-4, rtol=1e-4)

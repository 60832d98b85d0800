"""Codes predicted for recorded transitions: as an agent at that step would draw them, prefix by prefix."""

import numpy as np
import pytest
import torch

from flexlam.core.run_folder import RunFolder
from flexlam.core.seeding import torch_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.decoding import Decoding
from flexlam.training.predictions import predict_codes
from small_policy import TRANSFORMER


@pytest.fixture(scope="module")
def parts(learned: RunFolder) -> tuple[LatentActionModel, SequenceModel]:
    lam = LatentActionModel.from_pretrained(learned.path)
    config = SequenceModel.Config(context_frames=7, stride=4, patch_size=8, transformer=TRANSFORMER)
    model = SequenceModel(config, lam.frame_shape, lam.num_slots, lam.quantizer.codebook_size)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    return lam, model.eval()


@torch.inference_mode()
def test_the_context_is_the_agents(parts: tuple[LatentActionModel, SequenceModel], store: FrameStore) -> None:
    lam, policy = parts
    index = TransitionIndex.build(store, episodes=[3])
    rows = np.array([0, 2, 5, 6, 7, 13, 20])
    predicted = predict_codes(lam, policy, store, index, rows, num_samples=2, seed=4)
    drawn = {}
    decoding = Decoding(policy, 1, num_samples=2)
    images = frames_to_images(torch.from_numpy(store.frames(np.append(index.first, index.second[-1]))))
    _, codes = lam.encode_images(images[:-1], images[1:])

    numbers = torch.rand(len(rows), 2, lam.num_slots, generator=torch_generator(4, "predictions"))
    for step in range(21):
        hidden = decoding.observe(images[step][None], codes[max(step - 1, 0)][None], np.array([True]))
        if step in rows:
            place = rows.tolist().index(step)
            drawn[place] = decoding.draw(hidden, lam.num_slots, numbers[place][None])[0]
    for place, expected in drawn.items():
        assert torch.equal(predicted[place], expected)


def test_the_same_seed_gives_the_same_predictions_whatever_else_is_predicted(
    parts: tuple[LatentActionModel, SequenceModel], store: FrameStore
) -> None:
    lam, policy = parts
    index = TransitionIndex.build(store)
    rows = np.array([1, 50, 99])
    first = predict_codes(lam, policy, store, index, rows, 3, seed=0)
    assert first.shape == (3, 3, lam.num_slots)
    assert torch.equal(first, predict_codes(lam, policy, store, index, rows, 3, seed=0))
    assert not torch.equal(first, predict_codes(lam, policy, store, index, rows, 3, seed=1))

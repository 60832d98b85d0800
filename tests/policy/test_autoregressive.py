"""The sequence model: its loss against one pass a decision, and its life on disk."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from flexlam.core.errors import CheckpointError, ConfigError
from flexlam.core.seeding import seeded_torch
from flexlam.policy.autoregressive import PatchEmbedding, SequenceModel
from small_policy import CODEBOOK, NUM_SLOTS, SHAPE, TRANSFORMER, episode, sequence_model


def windows(num_blocks: int, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    found = [episode(num_blocks, seed) for seed in range(count)]
    return torch.stack([images for images, _ in found]), torch.stack([codes for _, codes in found])


def one_by_one(model: SequenceModel, images: torch.Tensor, codes: torch.Tensor, step: int) -> torch.Tensor:
    """Cross-entropies (K,) of a decision by a causal pass over its own sequence."""
    parts = []
    for t in range(step):
        if t % model.config.stride == 0:
            parts.append(model.embed_images(images[t : t + 1]))
        parts.append(model.embed_codes(codes[t : t + 1]))
    parts += [model.embed_images(images[step : step + 1]), model.embed_codes(codes[step : step + 1, :-1])]
    tokens = torch.cat(parts, dim=1)
    count = tokens.shape[1]
    mask = torch.ones(count, count, dtype=torch.bool).tril()[None, None]
    hidden = model.transformer(tokens, torch.arange(count)[None], mask)
    return F.cross_entropy(model.head(hidden[0, -NUM_SLOTS:]), codes[step], reduction="none")


@torch.no_grad()
def test_one_pass_over_a_window_equals_one_pass_for_each_decision() -> None:
    model = sequence_model()
    images, codes = windows(9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[1, 5:] = False
    _, aux = model.loss(images, codes, valid)
    single = [
        one_by_one(model, images[row], codes[row], step) for row in range(2) for step in range(9) if valid[row, step]
    ]
    torch.testing.assert_close(aux["decision_loss"], torch.stack(single).mean(0), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_lies_behind_an_episodes_end_changes_nothing() -> None:
    model = sequence_model()
    images, codes = windows(9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[:, 6:] = False
    loss, _ = model.loss(images, codes, valid)
    images[:, 6:], codes[:, 6:] = 0.7, 5
    again, _ = model.loss(images, codes, valid)
    torch.testing.assert_close(again, loss)
    images[:, 5] = 0.7
    changed, _ = model.loss(images, codes, valid)
    assert not torch.isclose(changed, loss)


def test_it_learns_codes_that_the_newest_frame_gives_away() -> None:
    """Also at steps that are no anchors, where the newest frame stands on its own branch."""
    config = SequenceModel.Config(context_frames=10, stride=4, patch_size=4, transformer=TRANSFORMER)
    with seeded_torch(1, "model"):
        model = SequenceModel(config, SHAPE, NUM_SLOTS, CODEBOOK)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        shown = torch.randint(0, 4, (8, 9), generator=generator)
        images = (shown.float() / 2 - 0.75)[:, :, None, None, None].expand(8, 9, 3, 8, 8).contiguous()
        codes = torch.stack([shown, shown + 1, 2 * shown], -1)
        loss, aux = model.loss(images, codes, torch.ones(8, 9, dtype=torch.bool))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(aux["decision_loss"].detach().max()) < 0.2
    assert float(aux["history_loss"].detach()) > 0.3, "frames are random here, so the past does not tell the next codes"


@pytest.mark.parametrize(("patch_size", "stem"), [(4, ()), (4, (5,)), (4, (5, 6))])
def test_patches_become_tokens_that_see_their_own_pixels_alone(patch_size: int, stem: tuple[int, ...]) -> None:
    embedding = PatchEmbedding(patch_size, stem, 3, 7)
    tokens = embedding(torch.rand(2, 3, 16, 8))
    assert tokens.shape == (2, 8, 7)
    images = torch.zeros(1, 3, 16, 8)
    images[0, :, 4:8, 0:4] = 1  # the third patch in reading order
    changed = (embedding(images) - embedding(torch.zeros_like(images))).abs().sum(-1)[0]
    assert changed.nonzero().flatten().tolist() == [2]


def test_a_stem_that_the_patch_does_not_allow_is_refused() -> None:
    with pytest.raises(ConfigError, match="merges 2×2 patches 3 times"):
        PatchEmbedding(4, (8, 8, 8), 3, 8)


def test_a_window_no_longer_than_the_stride_is_refused() -> None:
    with pytest.raises(ConfigError, match="must exceed the stride"):
        SequenceModel.Config.parse({"context_frames": 8, "stride": 8})


def test_it_comes_back_from_disk_for_its_own_model_only(tmp_path: Path) -> None:
    model = sequence_model()
    model.lam_hash = "abc"
    written = model.save_pretrained(tmp_path / "policy")
    loaded = SequenceModel.from_pretrained(tmp_path / "policy", "abc")
    assert loaded.hash == written and loaded.lam_hash == "abc" and not loaded.training
    assert loaded.config == model.config and loaded.frame_shape == SHAPE
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    with pytest.raises(CheckpointError, match="predicts the codes of model abc, not of xyz"):
        SequenceModel.from_pretrained(tmp_path / "policy", "xyz")
    with pytest.raises(CheckpointError, match="There is no checkpoint folder"):
        SequenceModel.from_pretrained(tmp_path / "nothing", "abc")

"""The swap test of models of which it is known what they tell."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.core.errors import DataError
from flexlam.core.types import Transitions
from flexlam.data.store import FrameStore
from flexlam.evaluate import swaps
from flexlam.evaluate.swaps import SwapTest
from known_world import KnownModel, known_pairs, known_store, slots

COUNT = 100


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return known_store(tmp_path_factory.mktemp("known"), length=20)


def score(world: FrameStore, read, write=lambda obs, latents, k: obs, k: int = 2) -> dict[str, float]:
    pairs = known_pairs(world)
    return SwapTest(KnownModel(read, write), world, pairs.test, COUNT, 0).measure(k)


def colour(obs: Tensor, next_obs: Tensor) -> Tensor:
    return slots(next_obs.float().mean((1, 2, 3)), torch.zeros(len(obs)))


class Album:
    """Codes that are numbers of frames, and a decoder that looks them up."""

    def __init__(self) -> None:
        self.frames: list[Tensor] = []

    def read(self, obs: Tensor, next_obs: Tensor) -> Tensor:
        first = sum(map(len, self.frames))
        self.frames.append(next_obs)
        return slots(torch.zeros(len(obs)), first + torch.arange(len(obs)).float())

    def write(self, obs: Tensor, latents: Tensor, k: int) -> Tensor:
        return torch.cat(self.frames)[latents[:, 1, 0].long()] if k == 2 else obs


def paint(obs: Tensor, latents: Tensor, k: int) -> Tensor:
    """A frame of one brightness, the first slot's."""
    return latents[:, 0, :1, None, None].clamp(0, 255).round().to(torch.uint8).expand(obs.shape).clone() if k else obs


def test_codes_that_hold_the_next_frame_tell_all_of_pasted_motion(world: FrameStore) -> None:
    album = Album()
    assert score(world, album.read, album.write)["swap_score"] == 1


def test_only_the_first_slots_count(world: FrameStore) -> None:
    album = Album()
    assert score(world, album.read, album.write, k=1)["swap_score"] == 0
    assert score(world, colour, paint, k=0) == {"swap_score": 0.0, "cut_explained": 0.0}


def test_codes_that_never_change_or_tell_what_no_clip_reaches_score_nothing(world: FrameStore) -> None:
    assert score(world, lambda a, b: torch.ones(len(a), 2, 4), paint)["swap_score"] == 0
    calls: list[Tensor] = []

    def numbered(obs: Tensor, next_obs: Tensor) -> Tensor:
        """Of the base alone: which row it is."""
        calls.append(obs)
        return slots(torch.arange(len(obs)).float(), torch.zeros(len(obs)))

    assert score(world, numbered, paint)["swap_score"] == 0
    assert len(calls) == 3, "with one clip, with another, and cut"


def test_codes_that_tell_a_part_score_a_part(world: FrameStore) -> None:
    assert 0.02 < score(world, colour, paint)["swap_score"] < 0.9, "a part of the picture is a part of its mean"
    assert score(world, colour)["swap_score"] == 0, "what a decoder cannot use is not told"


def test_codes_that_jump_about_without_telling_anything_score_nothing(world: FrameStore) -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(obs: Tensor, next_obs: Tensor) -> Tensor:
        return slots(255 * torch.rand(len(obs), generator=generator), torch.zeros(len(obs)))

    assert abs(score(world, noise, paint)["swap_score"]) < 0.2


def test_a_cut_is_explained_by_codes_that_tell_the_picture_and_by_no_others(world: FrameStore) -> None:
    def background(obs: Tensor, next_obs: Tensor) -> Tensor:
        return slots(next_obs[:, 2:].float().mean((1, 2, 3)), torch.zeros(len(obs)))

    def whole(obs: Tensor, latents: Tensor, k: int) -> Tensor:
        frames = obs.clone()
        if k:
            frames[:, 2:] = latents[:, 0, :1, None, None].round().to(torch.uint8)
        return frames

    assert score(world, background, whole)["cut_explained"] > 0.5
    assert score(world, background)["cut_explained"] == 0, "a decoder that copies makes nothing up"
    assert score(world, background, lambda obs, z, k: obs * (k == 0))["cut_explained"] < 0, "it can be worse than none"


def test_clips_are_pasted_at_the_same_place_of_both_frames(world: FrameStore) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(obs: Tensor, next_obs: Tensor) -> Tensor:
        seen.append((obs, next_obs))
        return torch.zeros(len(obs), 2, 4)

    score(world, keep)
    (one, one_next), (other, other_next), (base, cut) = seen
    size = base.shape[1] * base.shape[2]
    for pasted, following in ((one, one_next), (other, other_next)):
        inside = (pasted != base).any(-1)
        assert inside[:, 2:].any((1, 2)).float().mean() > 0.7, "the background differs in the rectangle"
        rows, columns = inside.any(2), inside.any(1)
        assert ((rows.sum(1) * columns.sum(1)) / size).max() < 0.5, "and nowhere else"
        assert following.shape == base.shape
    assert (cut[:, 2:] == cut[:, 2:3, :1]).all(), "a cut shows a whole frame as it is"


def test_scrambled_clips_move_as_before_and_look_like_nothing() -> None:
    generator = np.random.default_rng(0)
    smooth = np.kron(generator.integers(60, 200, (3, 4, 4, 3), np.uint8), np.ones((1, 8, 8, 1), np.uint8))
    obs = torch.from_numpy(smooth)
    clip = Transitions(obs, obs.roll((2, 3), (1, 2)))
    found = swaps.scrambled(clip, np.random.default_rng(1))
    shifted = found.obs.roll((2, 3), (1, 2))
    assert (found.next_obs.int() - shifted.int()).abs().float().mean() < 1, "what moved as one still does, by as much"
    assert (found.obs.int() - obs.int()).abs().float().mean() > 20, "the picture is another one"
    assert (found.obs.float().mean((1, 2)) - obs.float().mean((1, 2))).abs().max() < 3, "as bright, in every colour"
    again = swaps.scrambled(clip, np.random.default_rng(1))
    assert torch.equal(again.obs, found.obs) and not torch.equal(
        swaps.scrambled(clip, np.random.default_rng(2)).obs, found.obs
    )


def test_donors_are_transitions_of_other_episodes(world: FrameStore) -> None:
    index = known_pairs(world).test
    rows = np.random.default_rng(0).permutation(len(index))[:COUNT]
    found = swaps._of_other_episodes(index.episode, rows, np.random.default_rng(1))
    assert (index.episode[found] != index.episode[rows]).all()
    assert set(index.episode[found]) == set(index.episode), "of any of them"


def test_rectangles_cover_fifteen_to_forty_percent_anywhere() -> None:
    inside = swaps._rectangles(2000, (84, 96), np.random.default_rng(0))[..., 0]
    share = inside.float().mean((1, 2))
    assert share.min() > 0.14 and share.max() < 0.41
    assert share.min() < 0.17 and share.max() > 0.38, "all of that"
    rows, columns = inside.any(2), inside.any(1)
    assert torch.equal(inside, rows[:, :, None] & columns[:, None])
    assert all(where.any(0).all() for where in (rows, columns)), "every edge is reached"
    heights = rows.sum(1)
    assert heights.min() < 30 and heights.max() > 70


def test_the_same_seed_pastes_the_same(world: FrameStore) -> None:
    index = known_pairs(world).test
    found = [
        SwapTest(KnownModel(colour, paint), world, index, COUNT, seed).measure(2)["swap_score"] for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


def test_fewer_than_three_test_episodes_are_refused(tmp_path: Path) -> None:
    store = known_store(tmp_path, num_episodes=8, length=6)  # two of them for testing
    index = known_pairs(store).test
    assert len(set(index.episode.tolist())) == 2
    with pytest.raises(DataError, match=r"fewer than three test episodes.*--pairs\.split"):
        SwapTest(KnownModel(), store, index, COUNT, 0)

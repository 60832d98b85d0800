"""What the page pictures comes from test episodes and from the agent's own decisions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.rollout import Arena
from flexlam.core.action import ActionSpec
from flexlam.core.seeding import seeded_torch
from flexlam.evaluate.returns import Acted
from flexlam.report.clips import check_clip
from flexlam.report.sweeps import check_sweep
from flexlam.study.showing import (
    action_name,
    longest_episode,
    moves_elsewhere,
    predicted_transitions,
    prefix_sweeps,
    rollout_clips,
)
from flexlam.translator.model import build_translator
from flexlam.translator.serving import PrefixSampledTranslator
from known_world import KnownModel, action_of, background_of, known_pairs, known_store, slots
from moving_square import DISCRETE, MIXED
from recorded_square import Parts, random_parts, record_squares
from square_world import SquareSuite


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return random_parts(record_squares(tmp_path_factory.mktemp("recorded"), 150))


def play(parts: Parts, k: int) -> Acted:
    """An episode of an agent that knows nothing."""
    with seeded_torch(0, "translator"):
        config = PrefixSampledTranslator.Config(use_prev_action=False)
        translator = build_translator(config, DISCRETE, parts.lam.prefix.null_latent, parts.lam.num_slots)
    with Arena(SquareSuite(), "short", 1) as arena:
        (episode,) = arena.play(
            lambda slots: Agent(parts.lam, parts.policy, translator, k, DrawRule(temperature=1), slots),
            1,
            seed=0,
            num_kept=1,
            note=lambda agent, slot: agent.codes[slot, 0],
        )
    return Acted({}, {"short": episode}, translator)


def test_sweeps_show_transitions_of_test_episodes_at_every_k(parts: Parts) -> None:
    sweeps = prefix_sweeps(parts.lam, parts.pairs, seed=0)
    assert [sweep.task for sweep in sweeps] == ["short"] * 3 + ["long"] * 3
    index, store = parts.pairs.test, parts.pairs.store
    for sweep in sweeps:
        assert list(sweep.decoded) == [0, 1, 2, 4]
        assert all(frame.shape == (16, 16, 3) and frame.dtype == np.uint8 for frame in sweep.decoded.values())
        rows = np.flatnonzero(index.task == index.tasks.index(sweep.task))
        same = [
            (store.frames(index.first[[row]])[0] == sweep.obs).all()
            and (store.frames(index.second[[row]])[0] == sweep.next_obs).all()
            for row in rows
        ]
        assert any(same), "the pictured transition is one of the test episodes"
    again, other = (prefix_sweeps(parts.lam, parts.pairs, seed) for seed in (0, 1))
    assert all(np.array_equal(a.obs, b.obs) for a, b in zip(sweeps, again, strict=True))
    assert not all(np.array_equal(a.obs, b.obs) for a, b in zip(sweeps, other, strict=True))


def test_predictions_show_the_same_transitions_beside_the_real_codes(parts: Parts) -> None:
    sweeps = prefix_sweeps(parts.lam, parts.pairs, seed=0)
    predictions = predicted_transitions(parts.lam, parts.policy, parts.pairs, seed=0)
    for sweep, prediction in zip(sweeps, predictions, strict=True):
        assert prediction.task == sweep.task
        np.testing.assert_array_equal(prediction.obs, sweep.obs)
        np.testing.assert_array_equal(prediction.encoded, sweep.decoded[4])
        assert list(prediction.predicted) == [1, 2, 4]
    differs = [(prediction.predicted[4] != prediction.encoded).any() for prediction in predictions]
    assert any(differs), "predicted codes are not those of the real transition"


def paint(obs: Tensor, latents: Tensor, k: int) -> Tensor:
    """The counter grows by the first slot, the background is as bright as the second tells."""
    frames = obs.clone()
    frames[:, 0, 0] += latents[:, 0, :1].to(torch.uint8)
    frames[:, 2:] = (128 + 16 * latents[:, 1, 0]).round().clamp(0, 255).to(torch.uint8)[:, None, None, None]
    return frames


def test_moves_are_decoded_from_their_own_codes_and_those_of_the_twin(tmp_path: Path) -> None:
    store, twin = known_store(tmp_path / "a", length=20), known_store(tmp_path / "b", length=20, background=1)
    model = KnownModel(lambda a, b: slots(action_of(a, b), background_of(b)), paint)
    moves = moves_elsewhere(model, known_pairs(store), twin, seed=0)
    assert [move.task for move in moves] == ["a"] * 3 + ["b"] * 3
    episodes = set(known_pairs(store).test.episode.tolist())
    owner = np.repeat(np.arange(store.num_episodes), store.episodes.lengths)
    for move in moves:
        check_sweep(move)
        assert [picture.frame is frame for picture, frame in zip(move.pictures(), (move.own, move.other), strict=True)]
        (place,) = [
            number
            for number in np.flatnonzero(np.isin(owner, list(episodes)))
            if (store.frames(np.array([number]))[0] == move.obs).all()
            and (store.frames(np.array([number + 1]))[0] == move.next_obs).all()
        ]
        assert np.array_equal(move.own, move.next_obs)
        assert np.array_equal(move.other, twin.frames(np.array([place + 1]))[0]), "the code is that of the twin"
        assert np.array_equal(move.other[0], move.own[0]) and not np.array_equal(move.other, move.own)
    again, others = (moves_elsewhere(model, known_pairs(store), twin, seed) for seed in (0, 1))
    assert all(np.array_equal(a.obs, b.obs) for a, b in zip(moves, again, strict=True))
    assert not all(np.array_equal(a.obs, b.obs) for a, b in zip(moves, others, strict=True))


def test_without_a_twin_another_clip_is_pasted_over_the_left_half(tmp_path: Path) -> None:
    store = known_store(tmp_path, length=8)
    calls: list[tuple[Tensor, Tensor]] = []

    def read(obs: Tensor, next_obs: Tensor) -> Tensor:
        calls.append((obs, next_obs))
        return slots(action_of(obs, next_obs), background_of(next_obs))

    moves = moves_elsewhere(KnownModel(read, paint), known_pairs(store), None, seed=0)
    assert len(moves) == 6 and len(calls) == 4
    for base, pasted in (calls[:2], calls[2:]):
        for frames, with_clip in zip(base, pasted, strict=True):
            assert torch.equal(with_clip[:, :, 4:], frames[:, :, 4:])
            assert torch.equal(with_clip[:, :, :4], frames.roll(1, 0)[:, :, :4])
    assert any(not np.array_equal(move.own, move.other) for move in moves)


def test_a_clip_tells_the_codes_and_actions_of_each_decision(parts: Parts) -> None:
    acted = play(parts, 4)
    (clip,) = rollout_clips(acted, parts.pairs)
    check_clip(clip)
    episode = acted.shown["short"]
    assert (clip.task, clip.method, len(clip.frames)) == ("short", "agent, all slots", 12)
    assert clip.codes is not None and clip.codes.tolist() == [list(note) for note in episode.notes]
    assert clip.actions == [DISCRETE.names[int(action[0])] for action in episode.actions]
    assert clip.episode_return == episode.episode_return
    assert clip.frames_per_second == parts.pairs.store.fps


def test_a_clip_of_a_shorter_prefix_says_so(parts: Parts) -> None:
    (clip,) = rollout_clips(play(parts, 2), parts.pairs)
    assert clip.method == "agent, k = 2" and clip.codes is not None and clip.codes.shape == (12, 2)
    (blind,) = rollout_clips(play(parts, 0), parts.pairs)
    check_clip(blind)
    assert blind.method == "agent, k = 0" and blind.codes is None


def test_the_longest_test_episode_is_whole(parts: Parts) -> None:
    frames = longest_episode(parts.pairs)
    assert frames.shape == (30, 16, 16, 3) and frames.dtype == np.uint8
    store, episodes = parts.pairs.store, set(parts.pairs.test.episode.tolist())
    starts = [int(store.episodes.starts[episode]) for episode in episodes]
    assert any((store.frames(np.arange(start, start + 30)) == frames).all() for start in starts)


def test_actions_in_words() -> None:
    assert action_name(np.array([3.0]), DISCRETE) == "down"
    assert action_name(np.array([3.0]), ActionSpec(num_choices=(5,))) == "3"
    assert action_name(np.array([4.0, 1.0, 0.25, -1.0]), MIXED) == "4, 1, 0.25, -1.00"

"""What the page pictures comes from test episodes and from the agent's own decisions."""

import numpy as np
import pytest

from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.rollout import Arena
from flexlam.core.action import ActionSpec
from flexlam.core.seeding import seeded_torch
from flexlam.evaluate.returns import Acted
from flexlam.report.clips import check_clip
from flexlam.study.showing import (
    action_name,
    longest_episode,
    predicted_transitions,
    prefix_sweeps,
    rollout_clips,
)
from flexlam.translator.model import build_translator
from flexlam.translator.serving import PrefixSampledTranslator
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

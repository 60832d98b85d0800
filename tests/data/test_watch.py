import dataclasses

import numpy as np
import pytest

from flexlam.data.watch import watch


def seen(memory_reader, episode, **change):
    episode = dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, **change))
    reader = memory_reader([episode])
    told = []
    found = watch(reader, reader.episodes()[0], told.append)
    assert sum(told) == found.num_frames
    return found


def test_nothing_is_said_of_a_sound_episode(memory_reader, make_episode):
    found = seen(memory_reader, make_episode(40, 0))
    assert (found.num_frames, found.shape, found.errors, found.warnings) == (40, (16, 16, 3), [], [])
    assert found.fps == pytest.approx(8.75)


def test_frozen_stretches_are_found(memory_reader, make_episode):
    episode = make_episode(60, 0, size=24)
    rng = np.random.default_rng(0)
    episode.frames[:] = rng.integers(0, 255, episode.frames.shape, np.uint8)
    episode.frames[20:35] = episode.frames[20]
    episode.frames[50:55] = episode.frames[50]
    assert seen(memory_reader, episode).warnings == ["frames stand still: 20 to 34"]


def test_hard_cuts_are_found(memory_reader, make_episode):
    episode = make_episode(60, 0, size=32)
    episode.frames[25:] = 255 - episode.frames[25:]
    found = seen(memory_reader, episode)
    assert found.warnings == ["hard cuts, which no action explains, at frame 25"]


def test_fast_motion_is_no_cut(memory_reader, make_episode):
    episode = make_episode(60, 0, size=32)
    episode.frames[:] = np.random.default_rng(0).integers(0, 255, episode.frames.shape, np.uint8)
    assert seen(memory_reader, episode).warnings == []


def test_uneven_times_and_constant_actions_are_found(memory_reader, make_episode):
    episode = make_episode(12, 0)
    times = np.arange(12) / 10
    times[6:] += 0.5
    found = seen(memory_reader, episode, times=times, actions=np.ones((12, 1), np.float32))
    assert "times between frames vary, 0.1 to 0.6 s" in found.warnings[0]
    assert found.warnings[1] == "every action is the same" and not found.errors


def test_copies_have_one_digest(memory_reader, make_episode):
    one, two, other = (seen(memory_reader, make_episode(5, seed)).digest for seed in (0, 0, 1))
    assert one == two != other

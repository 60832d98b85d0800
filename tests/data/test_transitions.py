import dataclasses

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError
from flexlam.data.transitions import TransitionIndex


def random_store(rng, make_episode, memory_reader, build, name="store", fps=8.75):
    lengths = rng.integers(2, 14, rng.integers(1, 9))
    episodes = [make_episode(int(n), i, size=8, task="abc"[i % 3], fps=fps) for i, n in enumerate(lengths)]
    return build(memory_reader(episodes), name)[0], episodes


def pairs_by_hand(store, gap, episodes):
    return [
        (e, t, store.episodes.starts[e] + t, store.episodes.starts[e] + t + gap)
        for e in episodes
        for t in range(store.episodes.lengths[e] - gap)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_pairs_are_all_pairs_inside_an_episode_and_no_others(seed, make_episode, memory_reader, build):
    rng = np.random.default_rng(seed)
    store, _ = random_store(rng, make_episode, memory_reader, build)
    gap = int(rng.integers(1, 5))
    chosen = sorted(rng.choice(store.num_episodes, rng.integers(1, store.num_episodes + 1), replace=False).tolist())
    expected = pairs_by_hand(store, gap, chosen)
    if not expected:
        with pytest.raises(DataError, match="no transition"):
            TransitionIndex.build(store, gap, episodes=chosen)
        return
    index = TransitionIndex.build(store, gap, episodes=chosen)
    got = list(zip(index.episode, index.step, index.first, index.second, strict=True))
    assert got == expected
    owner = np.repeat(np.arange(store.num_episodes), store.episodes.lengths)
    assert np.array_equal(owner[index.first], index.episode) and np.array_equal(owner[index.second], index.episode)
    assert [index.tasks[t] for t in index.task] == [store.episodes.tasks[e] for e in index.episode]
    inside = index.step > 0
    assert (index.previous[~inside] == -1).all()
    assert (index.previous[inside] == index.first[inside] - 1).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_gap_in_seconds_is_the_nearest_frame_of_the_same_episode(seed, make_episode, memory_reader, build):
    rng = np.random.default_rng(100 + seed)
    store, _ = random_store(rng, make_episode, memory_reader, build)
    period = 1 / 8.75
    for steps in (1, 2):
        for offset in (-0.4, 0.0, 0.4):
            try:
                expected = TransitionIndex.build(store, steps)
            except DataError:
                continue
            got = TransitionIndex.build(store, gap_seconds=(steps + offset) * period)
            inside = np.isin(got.first, expected.first)
            assert np.array_equal(got.first[inside], expected.first)
            assert np.array_equal(got.second[inside], expected.second)
            owner = np.repeat(np.arange(store.num_episodes), store.episodes.lengths)
            assert np.array_equal(owner[got.second], owner[got.first])
            error = np.abs(store.times[got.second] - store.times[got.first] - (steps + offset) * period)
            assert (error <= 0.5 * period * 1.001).all()


def test_a_gap_in_seconds_serves_episodes_of_different_rates(make_episode, memory_reader, build):
    slow, fast = make_episode(10, 0, fps=5), make_episode(40, 1, fps=20)
    store, _ = build(memory_reader([slow, fast]))
    index = TransitionIndex.build(store, gap_seconds=0.4)
    jumps = index.second - index.first
    assert set(jumps[index.episode == 0]) == {2} and set(jumps[index.episode == 1]) == {8}


def test_uneven_times_take_the_nearest_frame_up_to_a_quarter_of_the_gap_off(make_episode, memory_reader, build):
    episode = make_episode(8, 0)
    times = np.array([0.0, 0.04, 0.08, 0.24, 0.28, 0.32, 0.36, 0.44])
    episode = dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, times=times))
    index = TransitionIndex.build(build(memory_reader([episode]))[0], gap_seconds=0.2)
    # 0.04 behind 0, 0 behind 0.04 and 0.08; none of 0.24 and later may shrink its gap at the end.
    assert list(zip(index.first, index.second, strict=True)) == [(0, 3), (1, 3), (2, 4), (3, 7)]


def test_frames_too_far_from_the_wanted_time_make_no_pair(make_episode, memory_reader, build):
    episode = make_episode(6, 0)
    times = np.array([0, 1, 2, 7, 8, 9], float)
    episode = dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, times=times))
    index = TransitionIndex.build(build(memory_reader([episode]))[0], gap_seconds=1.0)
    assert list(zip(index.first, index.second, strict=True)) == [(0, 1), (1, 2), (3, 4), (4, 5)]


def test_a_batch_holds_the_right_frames_and_actions(make_episode, memory_reader, build):
    episodes = [make_episode(6, 0), make_episode(5, 1)]
    store, _ = build(memory_reader(episodes), shard_bytes=3_000)
    index = TransitionIndex.build(store, gap_steps=2)
    rows = np.array([6, 0, 3, 4])
    batch = index.batch(store, rows)
    for b, row in enumerate(rows):
        episode, step = episodes[index.episode[row]], index.step[row]
        assert np.array_equal(batch.obs[b], episode.frames[step])
        assert np.array_equal(batch.next_obs[b], episode.frames[step + 2])
        assert np.array_equal(batch.action[b], episode.columns.actions[step])
        if step:
            assert np.array_equal(batch.prev_action[b], episode.columns.actions[step - 1])
        else:
            assert batch.prev_action[b].isnan().all()


def test_actions_can_be_left_out(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(6, 0)]), "with")
    batch = TransitionIndex.build(store).batch(store, np.array([0]), with_actions=False)
    assert batch.action is None and batch.prev_action is None
    bare, _ = build(memory_reader([make_episode(6, 0, None)], spec=None), "without")
    batch = TransitionIndex.build(bare).batch(bare, np.array([0]))
    assert batch.action is None and batch.prev_action is None


def test_another_store_is_refused(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(6, 0)]), "a")
    other, _ = build(memory_reader([make_episode(6, 1)]), "b")
    with pytest.raises(DataError, match="belong to"):
        TransitionIndex.build(store).batch(other, np.array([0]))


@pytest.mark.parametrize("gap", [{"gap_steps": 0}, {"gap_seconds": 0.0}, {"gap_steps": 2, "gap_seconds": 0.1}])
def test_senseless_gaps_are_refused(make_episode, memory_reader, build, gap):
    store, _ = build(memory_reader([make_episode(6, 0)]))
    with pytest.raises(ConfigError, match="makes no sense"):
        TransitionIndex.build(store, **gap)


def test_unknown_episodes_are_refused(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(6, 0)]))
    with pytest.raises(DataError, match="got 5"):
        TransitionIndex.build(store, episodes=[0, 5])
    with pytest.raises(DataError, match="no transition"):
        TransitionIndex.build(store, episodes=[])


# ---- over several gaps


@pytest.mark.parametrize("gap", [1, 2])
def test_reaching_multiplies_the_gap_as_far_as_the_episode_goes(gap, make_episode, memory_reader, build):
    store, _ = random_store(np.random.default_rng(3), make_episode, memory_reader, build)
    index = TransitionIndex.build(store, gap)
    rng = np.random.default_rng(0)
    rows, gaps = rng.integers(0, len(index), 200), rng.integers(1, 6, 200)
    reached = index.reaching(store, rows, gaps)
    ends = (store.episodes.starts + store.episodes.lengths - 1)[index.episode[rows]]
    assert np.array_equal(reached.first, index.first[rows])
    for name in ("previous", "episode", "step", "task"):
        assert np.array_equal(getattr(reached, name), getattr(index, name)[rows])
    for row, (first, second, end) in enumerate(zip(reached.first, reached.second, ends, strict=True)):
        wanted = [first + times * gap for times in range(1, gaps[row] + 1) if first + times * gap <= end]
        assert second == wanted[-1], "as many gaps as asked for, or the most that fit"
    assert len({*(reached.second - reached.first).tolist()}) > 3 and (reached.second < ends).any()
    batch = reached.batch(store, np.arange(200), with_actions=False)
    assert np.array_equal(batch.next_obs, store.frames(reached.second))


def test_one_gap_reaches_what_was_there(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(9, 0), make_episode(4, 1)]))
    index = TransitionIndex.build(store)
    same = index.reaching(store, np.arange(len(index)), np.ones(len(index), np.int64))
    assert np.array_equal(same.second, index.second) and same.data_hash == index.data_hash


def test_gaps_of_uneven_videos_never_leave_the_episode(make_episode, memory_reader, build):
    slow, fast = make_episode(10, 0, fps=5), make_episode(40, 1, fps=20)
    store, _ = build(memory_reader([slow, fast]))
    index = TransitionIndex.build(store, gap_seconds=0.4)
    reached = index.reaching(store, np.arange(len(index)), np.full(len(index), 3))
    owner = np.repeat(np.arange(2), store.episodes.lengths)
    assert np.array_equal(owner[reached.second], index.episode)
    jumps = reached.second - reached.first
    assert {*jumps[index.episode == 0].tolist()} == {2, 4, 6}
    assert {*jumps[index.episode == 1].tolist()} == {8, 16, 24}


def test_a_twin_gives_the_same_places_and_another_store_does_not_pass(make_episode, memory_reader, build):
    episodes = [make_episode(6, 0), make_episode(5, 1)]
    darker = [dataclasses.replace(episode, frames=episode.frames // 2) for episode in episodes]
    store, twin = (build(memory_reader(e), name)[0] for e, name in ((episodes, "a"), (darker, "b")))
    index = TransitionIndex.build(store)
    batch, other = index.batch(store, np.arange(9)), index.of_twin(twin).batch(twin, np.arange(9))
    assert np.array_equal(batch.next_obs // 2, other.next_obs) and np.array_equal(batch.action, other.action)
    with pytest.raises(DataError, match="belong to"):
        index.of_twin(twin).batch(store, np.array([0]))


def test_leading_frames_stay_in_their_episode_and_its_first_one_repeats(make_episode, memory_reader, build):
    store, _ = random_store(np.random.default_rng(0), make_episode, memory_reader, build)
    long = [episode for episode in range(store.num_episodes) if store.episodes.lengths[episode] >= 3]
    index = TransitionIndex.build(store, episodes=long)
    leading = index.leading(np.arange(len(index)), 3, 2)
    for row, positions in enumerate(leading):
        start = store.episodes.starts[index.episode[row]]
        assert positions.tolist() == [start + max(0, index.step[row] - back) for back in (4, 2, 0)]
    np.testing.assert_array_equal(index.leading(np.arange(len(index)), 1, 5)[:, 0], index.first)

from types import SimpleNamespace

import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.data.splits import split_episodes
from flexlam.data.store import FrameStore


def store_of(tasks):
    store = FrameStore.__new__(FrameStore)
    store.episodes = SimpleNamespace(tasks=tuple(tasks))
    return store


@pytest.mark.parametrize("seed", range(20))
def test_splits_are_a_partition_in_which_every_task_has_its_share(seed):
    rng = np.random.default_rng(seed)
    counts = {f"task {i}": int(rng.integers(1, 30)) for i in range(rng.integers(1, 6))}
    tasks = rng.permutation([task for task, count in counts.items() for _ in range(count)]).tolist()
    splits = split_episodes(store_of(tasks), seed=seed)
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(sum(parts, ())) == list(range(len(tasks)))
    for task, count in counts.items():
        shares = [sum(tasks[episode] == task for episode in part) for part in parts]
        if count >= 3:
            assert min(shares) >= 1 and abs(shares[0] - 0.8 * count) <= 2


def test_the_same_seed_gives_the_same_splits_and_another_seed_others():
    store = store_of(["a"] * 30 + ["b"] * 30)
    assert split_episodes(store, seed=1) == split_episodes(store, seed=1)
    assert split_episodes(store, seed=1) != split_episodes(store, seed=2)


def test_adding_a_task_does_not_move_the_episodes_of_another():
    alone = split_episodes(store_of(["a"] * 20), seed=3)
    together = split_episodes(store_of(["a"] * 20 + ["b"] * 9), seed=3)
    assert [e for e in together.test if e < 20] == list(alone.test)


def test_many_small_tasks_are_divided_together():
    splits = split_episodes(store_of([f"task {i}" for i in range(20)]))
    assert len(splits.validation) == len(splits.test) == 2


def test_a_fraction_of_zero_gets_nothing():
    splits = split_episodes(store_of(["a"] * 10), (0.9, 0.1, 0.0))
    assert not splits.test and len(splits.validation) == 1


def test_one_or_two_episodes_are_all_for_training():
    assert split_episodes(store_of(["a", "b"])).train == (0, 1)


def test_training_always_keeps_an_episode():
    splits = split_episodes(store_of(["a"] * 4), (0.02, 0.49, 0.49))
    assert min(len(splits.train), len(splits.validation), len(splits.test)) >= 1


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_senseless_fractions_are_refused(fractions):
    with pytest.raises(ConfigError, match="add up to 1"):
        split_episodes(store_of(["a"] * 10), fractions)

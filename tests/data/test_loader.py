import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.data.loader import BatchSampler, WeightedSampler


@pytest.mark.parametrize(("num_rows", "batch_size"), [(10, 3), (12, 4), (7, 7), (3, 8), (1, 5), (100, 1)])
def test_batches_one_after_the_other_are_shuffled_epochs(num_rows, batch_size):
    sampler = BatchSampler(num_rows, batch_size, seed=4)
    stream = np.concatenate([sampler.rows(step) for step in range(3 * num_rows)])
    assert stream.dtype == np.int64
    for epoch in stream[: len(stream) // num_rows * num_rows].reshape(-1, num_rows):
        assert sorted(epoch) == list(range(num_rows))


def test_epochs_differ_from_each_other_and_between_seeds():
    sampler = BatchSampler(50, 50, seed=0)
    assert not np.array_equal(sampler.rows(0), sampler.rows(1))
    assert not np.array_equal(sampler.rows(0), BatchSampler(50, 50, seed=1).rows(0))


def test_any_step_in_any_order_is_the_same_as_one_after_the_other():
    expected = [BatchSampler(23, 5, seed=9).rows(step) for step in range(60)]
    sampler = BatchSampler(23, 5, seed=9)
    for step in np.random.default_rng(0).permutation(60):
        assert np.array_equal(sampler.rows(int(step)), expected[step])


@pytest.mark.parametrize(("num_rows", "batch_size"), [(0, 4), (4, 0)])
def test_nothing_to_draw_is_refused(num_rows, batch_size):
    with pytest.raises(ConfigError, match="at least 1"):
        BatchSampler(num_rows, batch_size, seed=0)


GROUPS = [np.arange(100, 107), np.arange(200, 250), np.arange(300, 301)]


def test_groups_have_their_shares_in_every_batch_and_exactly_in_the_long_run():
    weights, batch_size, num_steps = (5.0, 2.0, 0.05), 24, 4000
    sampler = WeightedSampler(GROUPS, weights, batch_size, seed=1)
    batches = [sampler.rows(step) for step in range(num_steps)]
    counts = np.array([[np.isin(rows, group).sum() for group in GROUPS] for rows in batches])
    wanted = batch_size * np.array(weights) / sum(weights)
    assert (counts.sum(1) == batch_size).all()
    assert (np.abs(counts - wanted) < 1).all()
    assert np.allclose(counts.mean(0), wanted, atol=2e-3)


def test_each_group_comes_in_shuffled_epochs():
    sampler = WeightedSampler(GROUPS[:2], (1, 1), 10, seed=1)
    rows = np.concatenate([sampler.rows(step) for step in range(60)])
    for group in GROUPS[:2]:
        mine = rows[np.isin(rows, group)]
        epochs = mine[: len(mine) // len(group) * len(group)].reshape(-1, len(group))
        assert len(epochs) > 3 and all(sorted(epoch) == group.tolist() for epoch in epochs)
        assert not np.array_equal(epochs[0], epochs[1])


def test_any_step_of_a_mixture_can_be_asked_for_first():
    expected = [WeightedSampler(GROUPS, (1, 2, 3), 7, seed=2).rows(step) for step in (0, 3, 5000)]
    sampler = WeightedSampler(GROUPS, (1, 2, 3), 7, seed=2)
    assert all(np.array_equal(sampler.rows(s), rows) for s, rows in zip((5000, 3, 0), expected[::-1], strict=True))


def test_weights_that_fit_no_groups_are_refused():
    for weights in ((1.0,), (1.0, 1.0, 0.0)):
        with pytest.raises(ConfigError, match="positive one each"):
            WeightedSampler(GROUPS, weights, 4, seed=0)

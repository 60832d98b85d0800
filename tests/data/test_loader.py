import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.data.loader import BatchSampler


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

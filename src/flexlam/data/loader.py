"""Which rows make up a batch: a function of the seed and the step, so that nothing has to be saved."""

from collections.abc import Sequence

import numpy as np

from flexlam.core.errors import ConfigError
from flexlam.core.seeding import derive_seed, numpy_generator

_GOLDEN = (5**0.5 - 1) / 2


class BatchSampler:
    """Endless shuffled epochs over `num_rows` rows; the batch at an epoch's end goes on into the next epoch.

    Raises:
        ConfigError: there are no rows, or the batch is empty.
    """

    def __init__(self, num_rows: int, batch_size: int, seed: int) -> None:
        if num_rows < 1 or batch_size < 1:
            raise ConfigError(f"Cannot draw batches of {batch_size} from {num_rows} rows; both must be at least 1.")
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def rows(self, step: int) -> np.ndarray:
        """Rows (batch_size,) int64 of a step; any step can be asked for at any time."""
        return self.between(step * self.batch_size, (step + 1) * self.batch_size)

    def between(self, start: int, end: int) -> np.ndarray:
        """Rows (end − start,) int64 at these positions of the endless epochs."""
        position, pieces = start, [np.zeros(0, np.int64)]
        while position < end:
            epoch, offset = divmod(position, self.num_rows)
            piece = self._permutation(epoch)[offset : offset + end - position]
            pieces.append(piece)
            position += len(piece)
        return np.concatenate(pieces)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._order = numpy_generator(self.seed, "epoch", epoch).permutation(self.num_rows)
            self._epoch = epoch
        return self._order


class WeightedSampler:
    """Batches from several groups of rows in given ratios; each group by itself comes in shuffled epochs.

    Of every batch a group has its share, rounded down or up; over the steps its share is exact.

    Raises:
        ConfigError: a group is empty, the batch is, or a weight is not positive.
    """

    def __init__(self, groups: Sequence[np.ndarray], weights: Sequence[float], batch_size: int, seed: int) -> None:
        if len(groups) != len(weights) or min(weights) <= 0:
            raise ConfigError(
                f"{len(groups)} groups of rows have the weights {tuple(weights)}; give a positive one each."
            )
        self.groups, self.batch_size = groups, batch_size
        seeds = (derive_seed(seed, "group", number) for number in range(len(groups)))
        self._samplers = [BatchSampler(len(group), batch_size, s) for group, s in zip(groups, seeds, strict=True)]
        bounds = np.cumsum([0.0, *weights]) / sum(weights)
        bounds[-1] = 1.0
        self._bounds = bounds * batch_size
        self._starts = np.zeros((1, len(groups)), np.int64)  # how many of each group came before a step

    def rows(self, step: int) -> np.ndarray:
        """Rows (batch_size,) int64 of a step; any step can be asked for at any time."""
        while len(self._starts) <= step + 1:
            self._look_ahead()
        start, end = self._starts[step], self._starts[step + 1]
        drawn = zip(self.groups, self._samplers, start, end, strict=True)
        return np.concatenate([group[sampler.between(int(a), int(b))] for group, sampler, a, b in drawn])

    def _look_ahead(self) -> None:
        """Settle the shares of as many steps again. Golden steps spread the roundings evenly over the steps."""
        steps = np.arange(len(self._starts) - 1, 2 * len(self._starts) + 1022)
        counts = np.diff(np.floor(self._bounds + (steps * _GOLDEN % 1.0)[:, None]).astype(np.int64), axis=1)
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(counts, axis=0)])

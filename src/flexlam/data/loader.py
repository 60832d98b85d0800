"""Which rows make up a batch: a function of the seed and the step, so that nothing has to be saved."""

import numpy as np

from flexlam.core.errors import ConfigError
from flexlam.core.seeding import numpy_generator


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
        position, end = step * self.batch_size, (step + 1) * self.batch_size
        pieces = []
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

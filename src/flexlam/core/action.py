"""What an action is: discrete choices, continuous dimensions, or both."""

import numpy as np
from pydantic import model_validator

from flexlam.core.config import Config
from flexlam.core.errors import DataError


class ActionSpec(Config):
    """Layout of an action vector: all discrete dimensions first, then all continuous ones.

    On disk and in batches an action is a float32 vector (..., num_dims); a discrete dimension holds its index.
    """

    num_choices: tuple[int, ...] = ()
    """Number of choices of each discrete dimension."""
    num_continuous: int = 0
    """Number of continuous dimensions, in the units of the dataset."""
    names: tuple[str, ...] = ()
    """Names of the choices when there is a single discrete dimension, else of the dimensions (may be empty)."""

    @model_validator(mode="after")
    def _not_empty(self) -> "ActionSpec":
        if self.num_dims == 0 or min(self.num_choices, default=2) < 2 or self.num_continuous < 0:
            raise ValueError("an action needs at least one dimension, and two choices in each discrete one")
        return self

    @property
    def num_dims(self) -> int:
        """Length of an action vector."""
        return len(self.num_choices) + self.num_continuous

    @property
    def num_features(self) -> int:
        """Width of `features`: one-hot choices with one more for "none", continuous values and a "none" flag."""
        return sum(self.num_choices) + len(self.num_choices) + (self.num_continuous + 1 if self.num_continuous else 0)

    def check(self, actions: np.ndarray, where: str) -> None:
        """Refuse actions (..., num_dims) that do not fit.

        Raises:
            DataError: wrong width, not finite, or an index that is no choice.
        """
        if actions.shape[-1] != self.num_dims:
            raise DataError(f"{where}: actions have {actions.shape[-1]} dimensions; expected {self.num_dims}.")
        if not np.isfinite(actions).all():
            raise DataError(f"{where}: actions contain NaN or infinity. Mend or drop those episodes.")
        for dim, count in enumerate(self.num_choices):
            column = actions[..., dim]
            if ((column < 0) | (column >= count) | (column != np.round(column))).any():
                bad = column[(column < 0) | (column >= count) | (column != np.round(column))].flat[0]
                raise DataError(
                    f"{where}: action dimension {dim} holds {bad:g}; expected a whole number from 0 to {count - 1}. "
                    "Check the dataset's action column or its action spec."
                )

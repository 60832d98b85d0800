"""What readers of loose formats have to guess: whether actions are choices, and how pictures lie in memory."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.core.errors import DataError


def as_vectors(actions: Any, where: str) -> np.ndarray:
    """Actions of T steps as (T, A): whole numbers for choices, else floats.

    Raises:
        DataError: they are no numbers, or rows differ in their width.
    """
    try:
        found = np.asarray(actions)
        found = found.reshape(len(found), -1)
        if not np.issubdtype(found.dtype, np.number) and found.dtype != bool:
            raise ValueError(f"they are {found.dtype}")
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: the actions cannot be read as numbers, T rows of equal width ({error}).") from error
    return found.astype(np.int64) if found.dtype == bool else found


def guess_spec(episodes: Iterable[np.ndarray], where: str) -> ActionSpec:
    """Choices where every action (T, A) is a whole number, else continuous dimensions.

    Raises:
        DataError: widths or kinds differ, or there are no actions.
    """
    highest: np.ndarray | None = None
    whole = True
    for actions in episodes:
        if not len(actions):
            continue
        whole = whole and bool(np.issubdtype(actions.dtype, np.integer))
        if highest is not None and len(highest) != actions.shape[1]:
            raise DataError(
                f"{where}: actions have {len(highest)} dimensions in one episode, {actions.shape[1]} later."
            )
        highest = actions.max(0) if highest is None else np.maximum(highest, actions.max(0))
    if highest is None:
        raise DataError(f"{where}: no episode has an action.")
    if not whole:
        return ActionSpec(num_continuous=len(highest))
    return ActionSpec(num_choices=tuple(max(2, int(index) + 1) for index in highest))


def as_frame(frame: np.ndarray, where: str) -> np.ndarray:
    """A picture (H, W, C), (C, H, W) or (H, W) uint8 as (H, W, C).

    Raises:
        DataError: it is no such picture.
    """
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3):
        raise DataError(f"{where}: frames are {frame.dtype} of shape {frame.shape}; expected uint8 (H, W, 3).")
    if frame.ndim == 2:
        return frame[..., None]
    if frame.shape[2] in (1, 3):
        return frame
    if frame.shape[0] in (1, 3):
        return np.ascontiguousarray(frame.transpose(1, 2, 0))
    raise DataError(f"{where}: frames have shape {frame.shape}; expected (H, W, 3) or (H, W, 1).")


def is_pictures(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array could be the frames of an episode: (T, H, W, C) or (T, C, H, W) uint8."""
    return len(shape) == 4 and dtype == np.uint8 and (shape[3] in (1, 3) or shape[1] in (1, 3))


def is_one_hot(actions: np.ndarray) -> bool:
    """Whether every row (T, A) names one choice by a one among zeros."""
    return actions.shape[1] > 1 and bool(((actions == 0) | (actions == 1)).all() and (actions.sum(1) == 1).all())

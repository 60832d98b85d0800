"""Twins: two stores of the same games under other backgrounds, frame by frame.

Frame i of one and frame i of the other show the same endogenous state after the same actions, in front of different
exogenous states. What a model makes of both tells whether it reads the action or the background.
"""

from collections.abc import Sequence

import numpy as np

from flexlam.core.errors import DataError
from flexlam.core.extras import ENDOGENOUS_STATE
from flexlam.data.store import FrameStore

_FRAMES_AT_ONCE = 1024


def check_twins(store_a: FrameStore, store_b: FrameStore) -> None:
    """Refuse two stores that are no twins: what should agree differs, or the frames do not.

    Episodes, their lengths and tasks, actions, rewards and endogenous states have to agree to the last bit.
    Endogenous states are compared where both stores have them; at least these or the actions have to be there.

    Raises:
        DataError: what differs and where, or that nothing does.
    """
    _same_episodes(store_a, store_b)
    state_a, state_b = (store.extras.get(ENDOGENOUS_STATE) for store in (store_a, store_b))
    compared = (
        ("action", store_a.actions, store_b.actions),
        ("endogenous state", state_a, state_b),
        ("reward", store_a.rewards, store_b.rewards),
    )
    if all(a is None or b is None for _, a, b in compared[:2]):
        raise _no_twins(
            store_a,
            store_b,
            "they share neither actions nor endogenous states, so that they are paired cannot be seen. "
            "Record both with actions",
        )
    for what, a, b in compared:
        if a is not None and b is not None:
            _same_rows(what, a, b, store_a, store_b)
    if store_a.frame_shape != store_b.frame_shape:
        raise _no_twins(store_a, store_b, f"their frames have the shapes {store_a.frame_shape}, {store_b.frame_shape}")
    if not _frames_differ(store_a, store_b):
        raise _no_twins(
            store_a,
            store_b,
            "all their frames are identical. Record one of them under another background: "
            "flexlam collect ... --overlay waves --overlay-seed 1",
        )


def _same_episodes(store_a: FrameStore, store_b: FrameStore) -> None:
    if store_a.num_episodes != store_b.num_episodes:
        raise _no_twins(store_a, store_b, f"they have {store_a.num_episodes} and {store_b.num_episodes} episodes")
    a, b = store_a.episodes, store_b.episodes
    _same_words("length", a.lengths.tolist(), b.lengths.tolist(), store_a, store_b)
    _same_words("task", a.tasks, b.tasks, store_a, store_b)


def _same_words(
    what: str, a: Sequence[str | int], b: Sequence[str | int], store_a: FrameStore, store_b: FrameStore
) -> None:
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        if one != other:
            raise _no_twins(store_a, store_b, f"episode {number} has the {what} {one} in one and {other} in the other")


def _same_rows(what: str, a: np.ndarray, b: np.ndarray, store_a: FrameStore, store_b: FrameStore) -> None:
    if a.shape != b.shape:
        raise _no_twins(store_a, store_b, f"an {what} has the shapes {a.shape[1:]} and {b.shape[1:]}")
    differs = (a != b).reshape(len(a), -1).any(1)
    if differs.any():
        first = int(differs.argmax())
        episode = int(np.searchsorted(store_a.episodes.starts, first, side="right")) - 1
        step = first - int(store_a.episodes.starts[episode])
        raise _no_twins(
            store_a,
            store_b,
            f"the {what} of episode {episode}, step {step}, is {a[first].tolist()} in one and {b[first].tolist()} in "
            f"the other; {differs.mean():.0%} of the frames differ in it",
        )


def _frames_differ(store_a: FrameStore, store_b: FrameStore) -> bool:
    for start in range(0, store_a.num_frames, _FRAMES_AT_ONCE):
        rows = np.arange(start, min(start + _FRAMES_AT_ONCE, store_a.num_frames))
        if not np.array_equal(store_a.frames(rows), store_b.frames(rows)):
            return True
    return False


def _no_twins(store_a: FrameStore, store_b: FrameStore, why: str) -> DataError:
    return DataError(
        f"{store_a.path} and {store_b.path} are no twins: {why}. Twins are recordings with the same settings but for "
        "--overlay-seed (docs/worlds.md)."
    )

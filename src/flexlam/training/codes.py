"""The codes of every transition of a set, computed once by a frozen model and kept beside the run."""

from pathlib import Path

import numpy as np

from flexlam.core.files import explain_write_errors
from flexlam.core.progress import progress
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel

_CHUNK = 1024


def encode_all(model: LatentActionModel, store: FrameStore, index: TransitionIndex, path: Path) -> np.ndarray:
    """Codes (R, K) of all transitions, mapped from `path`; computed if the file is not there.

    Raises:
        OutputError: the disk is full.
    """
    shape = (len(index), model.num_slots)
    if not path.exists():
        part = path.with_suffix(".part")
        dtype = np.uint16 if model.quantizer.codebook_size <= 1 << 16 else np.int32
        with explain_write_errors(path), progress(len(index), "Encoding", "transition") as bar:
            path.parent.mkdir(parents=True, exist_ok=True)
            codes = np.lib.format.open_memmap(part, "w+", dtype, shape)
            for first in range(0, len(index), _CHUNK):
                rows = np.arange(first, min(first + _CHUNK, len(index)))
                batch = index.batch(store, rows, with_actions=False)
                codes[rows] = model.encode(batch.obs, batch.next_obs).indices.cpu().numpy()
                bar.update(len(rows))
            codes.flush()
            del codes
            part.rename(path)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found

"""The codes of every transition of a set, computed once by a frozen model and kept beside the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core.files import explain_write_errors
from flexlam.core.progress import progress
from flexlam.core.types import Codes
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
    dtype = np.uint16 if model.quantizer.codebook_size <= 1 << 16 else np.int32
    return _encoded(model, store, index, path, shape, dtype, lambda codes: codes.indices)


class StoredLatents:
    """Latents of all transitions, kept on disk: as codes where these say exactly which latents they are.

    Raises:
        OutputError: the disk is full.
    """

    def __init__(self, model: LatentActionModel, store: FrameStore, index: TransitionIndex, path: Path) -> None:
        self._model, self._exact = model, not model.quantizer.step
        if self._exact:
            self._kept = encode_all(model, store, index, path)
        else:
            shape = (len(index), model.num_slots, model.latent_dim)
            self._kept = _encoded(model, store, index, path, shape, np.float32, lambda codes: codes.latents)

    def __len__(self) -> int:
        return len(self._kept)

    @torch.no_grad()
    def __getitem__(self, rows: np.ndarray) -> Float[Tensor, "B K D"]:
        kept = self._kept[rows]
        if self._exact:
            codes = torch.from_numpy(kept.astype(np.int64)).to(self._model.device)
            return self._model.quantizer.indices_to_latents(codes)
        return torch.from_numpy(kept).to(self._model.device)

    def statistics(self) -> tuple[Float[Tensor, "K D"], Float[Tensor, "K D"], Float[Tensor, "K D"]]:
        """Smallest and largest value and standard deviation of each coordinate of each slot."""
        chunks = np.array_split(np.arange(len(self)), -(-len(self) // _CHUNK))
        low = torch.stack([self[rows].amin(0) for rows in chunks]).amin(0)
        high = torch.stack([self[rows].amax(0) for rows in chunks]).amax(0)
        mean = torch.stack([self[rows].double().sum(0) for rows in chunks]).sum(0) / len(self)
        squares = torch.stack([(self[rows].double() - mean).square().sum(0) for rows in chunks]).sum(0)
        return low, high, (squares / len(self)).sqrt().float()


def _encoded(
    model: LatentActionModel,
    store: FrameStore,
    index: TransitionIndex,
    path: Path,
    shape: tuple[int, ...],
    dtype: Any,
    take: Callable[[Codes], Tensor],
) -> np.ndarray:
    """What is taken of the codes of all transitions, mapped from `path`; computed if the file is not there."""
    if not path.exists():
        part = path.with_suffix(".part")
        with explain_write_errors(path), progress(len(index), "Encoding", "transition") as bar:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = np.lib.format.open_memmap(part, "w+", dtype, shape)
            for first in range(0, len(index), _CHUNK):
                rows = np.arange(first, min(first + _CHUNK, len(index)))
                batch = index.batch(store, rows, with_actions=False)
                kept[rows] = take(model.encode(batch.obs, batch.next_obs)).cpu().numpy()
                bar.update(len(rows))
            kept.flush()
            del kept
            part.rename(path)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found

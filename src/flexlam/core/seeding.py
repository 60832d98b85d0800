"""Random numbers as a function of names: the same seed and the same words give the same stream.

Because a stream is named by what it is for (`"lam", step`), nothing random has to be stored to resume a run.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *words: str | int) -> int:
    """A 63-bit seed for the stream that these words name."""
    text = json.dumps([seed, *words])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *words: str | int) -> np.random.Generator:
    """NumPy generator of a named stream."""
    return np.random.default_rng(derive_seed(seed, *words))


@contextmanager
def seeded_torch(seed: int, *words: str | int) -> Iterator[None]:
    """A named stream for what can only draw from torch's global CPU generator (weights, dropout); restored after."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(derive_seed(seed, *words))
        yield


def torch_generator(seed: int, *words: str | int, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """Torch generator of a named stream."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(seed, *words))

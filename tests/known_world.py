"""A world whose truth can be read from single pixels, and models that read some of it: what a probe finds is known.

Pixel (0, 0) counts actions (modulo 256): it grows by the action. All pixels from row 2 on are as bright as the
background, whose state halves from frame to frame and takes on new noise.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from flexlam.core.action import ActionSpec
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_INNOVATION, EXOGENOUS_STATE
from flexlam.core.types import Codes
from flexlam.data.episodes import Columns
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.lam.model import LatentActionModel
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs

NUM_ACTIONS = 4
SPEC = ActionSpec(num_choices=(NUM_ACTIONS,))
SIDE = 8
SPLIT = PairConfig(split=(0.5, 0.25, 0.25))
MIDDLE, SWING = 128.0, 16.0
"""Brightness of a background of state 0, and levels of a unit of it."""


def known_store(
    path: Path,
    num_episodes: int = 16,
    length: int = 31,
    background: int = 0,
    extras: Callable[[Columns], dict[str, np.ndarray]] | None = None,
    spec: ActionSpec | None = SPEC,
) -> FrameStore:
    """The same games for every `background`; `extras` changes what is recorded beside the frames."""
    with LeRobotWriter(path / "recording", 10.0, (SIDE, SIDE, 3), spec) as writer:
        for number in range(num_episodes):
            games = np.random.default_rng([number, 7])
            actions = games.integers(0, NUM_ACTIONS, length)
            counter = games.integers(0, 256) + np.r_[0, np.cumsum(actions)[:-1]]
            noise = np.random.default_rng([number, 8, background]).normal(size=length)
            noise[0] = 0.0
            state = np.zeros(length)
            for step in range(1, length):
                state[step] = 0.5 * state[step - 1] + noise[step]
            frames = np.zeros((length, SIDE, SIDE, 3), np.uint8)
            frames[:, 0, 0] = (counter % 256)[:, None]
            frames[:, 2:] = np.clip(np.round(MIDDLE + SWING * state), 0, 255)[:, None, None, None]
            known = {
                ENDOGENOUS_STATE: counter[:, None] / 64,
                EXOGENOUS_STATE: state[:, None],
                EXOGENOUS_INNOVATION: noise[:, None],
            }
            columns = Columns(
                times=np.arange(length) / 10,
                actions=None if spec is None else actions[:, None].astype(np.float32),
                rewards=None,
                extras={name: values.astype(np.float32) for name, values in known.items()},
            )
            if extras is not None:
                columns = dataclasses.replace(columns, extras=extras(columns))
            writer.write_episode("ab"[number % 2], frames, columns)
    build_store(
        LeRobotReader(path / "recording"), path / "store", StoreConfig(frame_size=None), announce=lambda _: None
    )
    return FrameStore.open(path / "store")


def known_pairs(store: FrameStore, **changes: object) -> SplitPairs:
    """Half of the episodes for training, a quarter each for choosing and testing."""
    return load_pairs(store.path, SPLIT.model_copy(update=changes))


def action_of(obs: Tensor, next_obs: Tensor) -> Tensor:
    """(N,) int64, by how much the counter grew."""
    return (next_obs[:, 0, 0, 0].long() - obs[:, 0, 0, 0].long()) % 256


def background_of(frames: Tensor) -> Tensor:
    """(N,) float32, mean state of the background."""
    return (frames[:, 2:].float().mean((1, 2, 3)) - MIDDLE) / SWING


class KnownModel(LatentActionModel):
    """Two slots of four numbers, as told: read(obs, next_obs) -> (N, 2, 4); write(obs, latents, k) -> next frames.

    By default nothing is read, and the present frame is what is decoded.
    """

    def __init__(
        self,
        read: Callable[[Tensor, Tensor], Tensor] = lambda obs, next_obs: torch.zeros(len(obs), 2, 4),
        write: Callable[[Tensor, Tensor, int], Tensor] = lambda obs, latents, k: obs,
        side: int = SIDE,
    ) -> None:
        nn.Module.__init__(self)
        self.read, self.write = read, write
        self.num_slots, self.frame_shape = 2, (side, side, 3)

    @property
    def bits_per_slot(self) -> float:
        return 3.0

    def encode(self, obs: Tensor, next_obs: Tensor) -> Codes:
        latents = self.read(obs, next_obs).float()
        return Codes((latents[..., 0] * 1000).round().long(), latents)

    def decode(self, obs: Tensor, codes: Codes, prefix_length: int | None = None, *_: object) -> Tensor:
        k = self.num_slots if prefix_length is None else prefix_length
        return self.write(obs, codes.latents[:, :k], k)


def slots(first: Tensor, second: Tensor) -> Tensor:
    """(N, 2, 4) of what either slot holds, (N,) or (N, d) with d of at most 4, the rest zero."""
    parts = [x[:, None] if x.ndim == 1 else x for x in (first, second)]
    return torch.stack([nn.functional.pad(x.float(), (0, 4 - x.shape[1])) for x in parts], 1)


def one_hot(actions: Tensor) -> Tensor:
    """(N, 4)."""
    return nn.functional.one_hot(actions.clamp(0, NUM_ACTIONS - 1), NUM_ACTIONS).float()

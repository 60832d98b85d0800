"""A world small enough for tests: a coloured square that moves over a textured ground as its actions say."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.data.episodes import Columns
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store

FPS = 8.75
MOVES = ((0, 0), (0, 2), (0, -2), (2, 0), (-2, 0))
DISCRETE = ActionSpec(num_choices=(5,), names=("stay", "right", "left", "down", "up"))
CONTINUOUS = ActionSpec(num_continuous=3)
MIXED = ActionSpec(num_choices=(5, 2), num_continuous=2)


@dataclass(frozen=True)
class Episode:
    task: str
    frames: np.ndarray
    columns: Columns


def moving_square(
    length: int,
    seed: int,
    spec: ActionSpec | None = DISCRETE,
    size: int = 16,
    fps: float = FPS,
    task: str = "a",
) -> Episode:
    rng = np.random.default_rng(seed)
    moves = rng.integers(0, len(MOVES), length)
    ground = rng.integers(0, 60, (size, size, 3), np.uint8)
    frames = np.empty((length, size, size, 3), np.uint8)
    y, x = rng.integers(0, size - 4, 2)
    for step, move in enumerate(moves):
        frames[step] = ground
        frames[step, y : y + 4, x : x + 4] = 255 - 10 * (seed % 10)
        y, x = np.clip([y + MOVES[move][0], x + MOVES[move][1]], 0, size - 4)
    actions = None
    if spec is not None:
        others = [rng.integers(0, n, length) for n in spec.num_choices[1:]]
        discrete = [moves, *others] if spec.num_choices else []
        continuous = rng.normal(size=(spec.num_continuous, length))
        actions = np.stack([*discrete, *continuous], axis=1).astype(np.float32)
    columns = Columns(
        times=np.arange(length) / fps,
        actions=actions,
        rewards=rng.normal(size=length).astype(np.float32),
        extras={"position": rng.normal(size=(length, 2, 2)).astype(np.float32)},
    )
    return Episode(task, frames, columns)


def square_store(
    path: Path, num_episodes: int = 24, length: int = 40, spec: ActionSpec | None = DISCRETE, seed: int = 0
) -> FrameStore:
    """A frame store of 16×16 episodes of two tasks, at path/store; the recording stays at path/recording."""
    with LeRobotWriter(path / "recording", FPS, (16, 16, 3), spec) as writer:
        for number in range(num_episodes):
            episode = moving_square(length, seed * 1000 + number, spec, task="ab"[number % 2])
            writer.write_episode(episode.task, episode.frames, episode.columns)
    config = StoreConfig(frame_size=None)
    build_store(LeRobotReader(path / "recording"), path / "store", config, announce=lambda _: None)
    return FrameStore.open(path / "store")

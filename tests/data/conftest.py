"""Small datasets of the moving square, on disk and in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest

from flexlam.core.action import ActionSpec
from flexlam.core.errors import DataError
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import BuildReport, build_store
from moving_square import DISCRETE, FPS, Episode, moving_square


@dataclass(frozen=True)
class Dataset:
    path: Path
    episodes: list[Episode] = field(default_factory=list)


@pytest.fixture
def moving_square_dataset(tmp_path: Path) -> Callable[..., Dataset]:
    """A factory: moving_square_dataset(lengths, spec=..., tasks=..., codec=...) -> Dataset on disk."""

    def make(
        lengths: tuple[int, ...] = (7, 2, 5),
        spec: ActionSpec | None = DISCRETE,
        tasks: tuple[str, ...] = ("a", "b"),
        codec: str = "png",
        name: str = "dataset",
    ) -> Dataset:
        episodes = [moving_square(n, i, spec, task=tasks[i % len(tasks)]) for i, n in enumerate(lengths)]
        with LeRobotWriter(tmp_path / name, FPS, (16, 16, 3), spec, codec=codec) as writer:
            for episode in episodes:
                writer.write_episode(episode.task, episode.frames, episode.columns)
        return Dataset(tmp_path / name, episodes)

    return make


class MemoryReader:
    """A reader over episodes in memory; those in `broken` fail after their first frame."""

    def __init__(self, episodes: list[Episode], spec: ActionSpec | None = DISCRETE, broken: tuple[int, ...] = ()):
        self._episodes, self._broken = episodes, broken
        self.info = DatasetInfo(
            format="memory",
            num_episodes=len(episodes),
            num_frames=sum(len(e.frames) for e in episodes),
            frame_shape=episodes[0].frames.shape[1:],  # type: ignore[arg-type]
            fps=FPS,
            action_spec=spec,
            tasks=tuple(dict.fromkeys(e.task for e in episodes)),
        )

    @staticmethod
    def recognises(path: Path) -> bool:
        return False

    def episodes(self) -> list[EpisodeInfo]:
        return [EpisodeInfo(i, f"episode {i}", e.task, None) for i, e in enumerate(self._episodes)]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        for step, frame in enumerate(self._episodes[episode.index].frames):
            if step and episode.index in self._broken:
                raise DataError(f"{episode.name} is broken")
            yield frame

    def columns(self, episode: EpisodeInfo) -> Columns:
        return self._episodes[episode.index].columns


@pytest.fixture
def memory_reader() -> type[MemoryReader]:
    return MemoryReader


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., tuple[FrameStore, BuildReport]]:
    """build(reader, name="store", **settings) -> the store of a reader, and the report of its building."""

    def make(reader: MemoryReader, name: str = "store", **settings: object) -> tuple[FrameStore, BuildReport]:
        config = StoreConfig.parse({"frame_size": None} | settings)
        report = build_store(reader, tmp_path / name, config, announce=lambda _: None)  # type: ignore[arg-type]
        return FrameStore.open(tmp_path / name), report

    return make


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    """moving_square(length, seed, spec=..., size=..., fps=..., task=...) -> Episode in memory."""
    return moving_square


@pytest.fixture
def write_video() -> Callable[..., None]:
    """write_video(path, frames, fps, codec=..., pix_fmt=...)."""
    return _write_video


def _write_video(path: Path, frames: np.ndarray, fps: int, codec: str = "libx264", pix_fmt: str = "yuv420p") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))

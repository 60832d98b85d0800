"""Reading and converting data: random pairs of every codec, and conversion of mp4 beside bare decoding and resizing.

    python benchmarks/data.py [--quick] [--lerobot PYTHON]

Rates are per CPU-second of this process and its children, medians of interleaved rounds. `--lerobot` names a Python
with LeRobot 0.4.4 (`make test-lerobot` makes one), whose loader is then timed on the same frames.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from flexlam.core.machine import describe_machine
from flexlam.core.progress import set_quiet
from flexlam.data.episodes import Columns, DatasetInfo, EpisodeInfo
from flexlam.data.guarded import Limits
from flexlam.data.parts import StoreConfig, resize
from flexlam.data.readers import open_dataset
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store, convert
from flexlam.data.transitions import TransitionIndex
from flexlam.report.table import Table

BATCH, LENGTH, VIDEO_LENGTH = 128, 120, 1800


class Scenes:
    """Episodes of soft moving shapes over a textured ground: they compress about as game frames do."""

    def __init__(self, num_frames: int, size: int, length: int = LENGTH) -> None:
        self.size, self.length, self.path = size, length, Path("scenes")
        self.count = max(4, num_frames // length)
        shape = (size, size, 3)
        self.info = DatasetInfo("scenes", self.count, self.count * length, shape, 10.0, None, ("scenes",))

    def episodes(self) -> list[EpisodeInfo]:
        return [EpisodeInfo(n, f"scene {n}", "scenes", self.length) for n in range(self.count)]

    def frames(self, episode: EpisodeInfo) -> Iterator[np.ndarray]:
        rng, size = np.random.default_rng(episode.index), self.size
        ground = resize(rng.integers(40, 160, (16, 16, 3), np.uint8), (size, size))
        ground = ground + rng.integers(0, 12, ground.shape, np.uint8)
        y, x = np.mgrid[:size, :size] / size
        for step in range(self.length):
            centre = 0.5 + 0.3 * np.sin(step / 9 + np.arange(2) + episode.index)
            spot = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 0.01)[..., None]
            yield (ground * (1 - spot) + 230 * spot).astype(np.uint8)

    def columns(self, episode: EpisodeInfo) -> Columns:
        return Columns(times=np.arange(self.length) / 10)


def cpu_seconds() -> float:
    """Of this process and of children that have ended."""
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in found)


def seconds_of(work: Callable[[], object]) -> float:
    before = cpu_seconds()
    work()
    return cpu_seconds() - before


def pairs_per_second(store: FrameStore, rounds: int) -> float:
    index, rng = TransitionIndex.build(store), np.random.default_rng(0)
    raw = store.manifest.codec == "raw"
    batches = (400 if store.frame_shape[0] <= 64 else 60) if raw else 4
    index.batch(
        store, np.arange(len(index)), with_actions=False
    ) if raw else None  # pages are in memory, as when training

    def work() -> None:
        for _ in range(batches):
            index.batch(store, rng.integers(0, len(index), BATCH), with_actions=False)

    return statistics.median(batches * BATCH / seconds_of(work) for _ in range(rounds))


def random_pairs(folder: Path, num_frames: int, rounds: int) -> Table:
    rows = []
    for size in (64, 224):
        scenes = Scenes(num_frames if size == 64 else num_frames // 4, size)
        for codec in ("raw", "webp", "jpeg"):
            path = folder / f"{codec}-{size}"
            config = StoreConfig(frame_size=None, codec=codec)
            spent = seconds_of(lambda p=path, c=config, s=scenes: build_store(s, p, c, announce=lambda _: None))
            store = FrameStore.open(path)
            stored = sum(file.stat().st_size for file in path.glob("frames-*.bin")) / store.num_frames
            rate = pairs_per_second(store, rounds)
            rows.append(
                (f"{size} px", codec, f"{rate:,.0f}", f"{stored:,.0f}", f"{1e3 * spent / store.num_frames:.2f}")
            )
    header = ("frames", "codec", "random pairs a CPU-second", "bytes a frame", "CPU-ms to make and store a frame")
    return Table(header, (tuple(rows),))


def write_videos(folder: Path, num_videos: int, size: tuple[int, int], length: int = VIDEO_LENGTH) -> None:
    """mp4 as cameras write it: H.264, 4:2:0, a key frame now and then."""
    folder.mkdir()
    for number in range(num_videos):
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(30), options={"crf": "23", "preset": "veryfast"})
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            scene = Scenes(0, 128, length)
            for frame in scene.frames(EpisodeInfo(number, "", "", None)):
                large = av.VideoFrame.from_ndarray(np.ascontiguousarray(resize(frame, size)), format="rgb24")
                container.mux(stream.encode(large))
            container.mux(stream.encode(None))


def bare(folder: Path) -> int:
    """Decode and resize, and nothing else."""
    count = 0
    for file in sorted(folder.glob("*.mp4")):
        with av.open(str(file)) as container:
            for picture in container.decode(container.streams.video[0]):
                resize(picture.to_ndarray(format="rgb24"), (64, 64))
                count += 1
    return count


def _convert(videos: Path, out: Path) -> None:
    convert(open_dataset(videos), out, StoreConfig(), Limits(), 1, lambda _: None, lambda _: None)


def conversion(folder: Path, num_videos: int, rounds: int) -> Table:
    rows = []
    write_videos(folder / "warm", 1, (64, 64), 30)
    _convert(folder / "warm", folder / "warm-store")  # what is imported once is no cost of conversion
    for size in ((240, 320), (480, 640), (720, 1280)):
        videos = folder / f"videos-{size[0]}"
        write_videos(videos, num_videos, size)
        times: dict[str, list[float]] = {"bare": [], "convert": []}
        count = 0
        for number in range(rounds):
            out = folder / f"store-{size[0]}-{number}"
            count = count or bare(videos)
            times["bare"].append(seconds_of(lambda v=videos: bare(v)))
            times["convert"].append(seconds_of(lambda v=videos, o=out: _convert(v, o)))
        one, other = (statistics.median(times[name]) for name in ("bare", "convert"))
        shares = f"{100 * one / other:.0f} %"
        rows.append((f"{size[1]} x {size[0]}", f"{count / one:,.0f}", f"{count / other:,.0f}", shares))
    header = ("mp4", "PyAV and resize, frames a CPU-second", "data convert", "share")
    return Table(header, (tuple(rows),))


LEROBOT = """
import json, resource, sys, time
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
pairs = {"observation.image": [0.0, 0.1]}
data = LeRobotDataset("local/scenes", root=sys.argv[1], delta_timestamps=pairs)
rng, count = np.random.default_rng(0), int(sys.argv[2])
data[0]
before = resource.getrusage(resource.RUSAGE_SELF)
for index in rng.integers(0, len(data), count):
    data[int(index)]
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(count / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)))
"""


def lerobot_pairs(python: str, folder: Path, num_frames: int) -> Table:
    from flexlam.data.lerobot_writer import LeRobotWriter

    rows = []
    for size in (64, 224):
        scenes, path = Scenes(num_frames // 8, size), folder / f"lerobot-{size}"
        with LeRobotWriter(path, 10.0, (size, size, 3), None, codec="png") as writer:
            for episode in scenes.episodes():
                writer.write_episode("scenes", np.stack(list(scenes.frames(episode))), scenes.columns(episode))
        command = [python, "-c", LEROBOT, str(path), "300"]
        shim = Path(__file__).parents[1] / "tests" / "interop" / "shim"
        environment = os.environ | {"PYTHONPATH": str(shim), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        rows.append((f"{size} px", f"{json.loads(done.stdout.splitlines()[-1]):,.0f}"))
    return Table(("frames", "LeRobot's loader (png), random pairs a CPU-second"), (tuple(rows),))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the frames, one round")
    parser.add_argument("--lerobot", help="Python of an environment with LeRobot 0.4.4")
    options = parser.parse_args(arguments)
    num_frames, num_videos, rounds = (2_000, 1, 1) if options.quick else (20_000, 4, 5)
    set_quiet(True)
    print(f"# {time.strftime('%Y-%m-%d')}, {describe_machine()['processor']}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(random_pairs(folder, num_frames, rounds).to_markdown(), end="\n\n")
        print(conversion(folder, num_videos, rounds).to_markdown(), end="\n\n")
        if options.lerobot:
            print(lerobot_pairs(options.lerobot, folder, num_frames).to_markdown(), end="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])

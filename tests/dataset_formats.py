"""A small dataset in every format, made of moving squares, with what should be read back."""

import gzip
import io
import json
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import gymnasium
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from minari import create_dataset_from_buffers
from minari.data_collector.episode_buffer import EpisodeBuffer
from PIL import Image

from flexlam.data.lerobot_writer import LeRobotWriter
from moving_square import CONTINUOUS, DISCRETE, FPS, Episode, moving_square

SIZE = 32
LENGTHS = (9, 12, 14)


@dataclass(frozen=True)
class Made:
    """What was written, as it should be read: rows whose actions follow their frames."""

    path: Path
    episodes: list[Episode]
    has_actions: bool = True
    fps: float = 1.0


def squares(continuous: bool = False) -> list[Episode]:
    spec = CONTINUOUS if continuous else DISCRETE
    return [moving_square(n, i, spec, size=SIZE, task="ab"[i % 2]) for i, n in enumerate(LENGTHS)]


def write_lossless(path: Path, frames: np.ndarray, fps: int = 10) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(fps), options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def by_task(episodes: list[Episode]) -> list[Episode]:
    """In the order of folders named after tasks."""
    return sorted(episodes, key=lambda episode: episode.task)


def lerobot(root: Path) -> Made:
    episodes = squares()
    with LeRobotWriter(root, FPS, (SIZE, SIZE, 3), DISCRETE) as writer:
        for episode in episodes:
            writer.write_episode(episode.task, episode.frames, episode.columns)
    return Made(root, episodes, fps=FPS)


def lerobot_v21(root: Path) -> Made:
    """Files of version 2.1 as LeRobot wrote them: an episode a file, its list in JSON lines."""
    episodes = squares()
    (root / "meta").mkdir(parents=True)
    features = {
        "observation.image": {"dtype": "video", "shape": [SIZE, SIZE, 3], "names": ["height", "width", "channel"]},
        "action": {"dtype": "int64", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "features": features,
        "chunks_size": 2,
        "total_episodes": len(episodes),
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    lines = [
        json.dumps({"episode_index": i, "tasks": [episode.task], "length": len(episode.frames)})
        for i, episode in enumerate(episodes)
    ]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    for i, episode in enumerate(episodes):
        assert episode.columns.actions is not None
        name, length = f"chunk-{i // 2:03d}", len(episode.frames)
        write_lossless(root / f"videos/{name}/observation.image/episode_{i:06d}.mp4", episode.frames)
        table = pa.table(
            {
                "action": episode.columns.actions[:, 0].astype(np.int64),
                "timestamp": (np.arange(length) / 10).astype(np.float32),
                "episode_index": np.full(length, i),
            }
        )
        (root / "data" / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, root / f"data/{name}/episode_{i:06d}.parquet")
    return Made(root, episodes, fps=10)


def row_parquet(root: Path) -> Made:
    episodes = by_task(squares())
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for task in "ab":
        of_task = [episode for episode in episodes if episode.task == task]
        lengths = [len(episode.frames) for episode in of_task]
        over = np.zeros(sum(lengths), bool)
        over[np.cumsum(lengths) - 1] = True
        frames = [{"bytes": png(frame), "path": None} for episode in of_task for frame in episode.frames]
        actions = np.concatenate([episode.columns.actions[:, 0] for episode in of_task])  # type: ignore[index]
        columns = {"observation": pa.array(frames, picture), "action": actions.astype(np.int32), "terminated": over}
        (root / task).mkdir(parents=True)
        pq.write_table(pa.table(columns | {"truncated": ~over & False}), root / task / "train-00000-of-00001.parquet")
    return Made(root, episodes)


def video_folder(root: Path) -> Made:
    episodes = by_task(squares())
    for number, episode in enumerate(episodes):
        write_lossless(root / episode.task / f"{number}.mp4", episode.frames)
    return Made(root, episodes, has_actions=False, fps=10)


def frame_folder(root: Path) -> Made:
    episodes = by_task(squares())
    for number, episode in enumerate(episodes):
        folder = root / episode.task / f"clip{number}"
        folder.mkdir(parents=True)
        for step, frame in enumerate(episode.frames):
            (folder / f"frame_{step + 1}.png").write_bytes(png(frame))
    return Made(root, episodes, has_actions=False)


def mp4_json(root: Path) -> Made:
    """As the recorder leaves it: the action that led to a frame beside it, one-hot."""
    episodes = by_task(squares())
    shown = []
    for number, episode in enumerate(episodes):
        assert episode.columns.actions is not None
        write_lossless(root / episode.task / f"{number:08d}.mp4", episode.frames)
        chosen = episode.columns.actions[:, 0].astype(int)
        led = np.eye(5, dtype=int)[np.concatenate([[0], chosen[:-1]])]
        reward = np.concatenate([[0.0], np.arange(len(led) - 1)])
        record = {
            "action": led.tolist(),
            "reward": reward.tolist(),
            "episode_length": len(led),
            "reward_sum": float(reward.sum()),
        }
        (root / episode.task / f"{number:08d}.json.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
        shown.append(cut(episode, len(led) - 1))
    return Made(root, shown, fps=10)


def cut(episode: Episode, length: int) -> Episode:
    columns = episode.columns
    assert columns.actions is not None
    kept = type(columns)(times=columns.times[:length], actions=columns.actions[:length])
    return Episode(episode.task, episode.frames[:length], kept)


def robomimic(root: Path) -> Made:
    episodes = by_task(squares(continuous=True))
    root.mkdir(parents=True)
    for task in "ab":
        with h5py.File(root / f"{task}.hdf5", "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 20}})
            for number, episode in enumerate(e for e in episodes if e.task == task):
                demo = data.create_group(f"demo_{number}")
                demo["actions"] = episode.columns.actions.astype(np.float64)  # type: ignore[union-attr]
                demo["rewards"] = np.zeros(len(episode.frames))
                demo["obs/agentview_image"] = episode.frames
                demo["obs/eye_in_hand_image"] = episode.frames[:, ::-1]
                demo["obs/joint_states"] = np.zeros((len(episode.frames), 7))
                demo["next_obs/agentview_image"] = episode.frames
    return Made(root, episodes, fps=20)


def laom(root: Path) -> Made:
    episodes = squares(continuous=True)
    root.mkdir(parents=True)
    with h5py.File(root / "walker.hdf5", "w") as file:
        file.attrs["img_hw"] = SIZE
        for number, episode in enumerate(episodes):
            group = file.create_group(str(number))
            group["obs"], group["actions"] = episode.frames, episode.columns.actions
    return Made(root, [Episode("walker", episode.frames, episode.columns) for episode in episodes])


def minari_jpeg(root: Path) -> Made:
    """As Minari's library writes pictures of 32 pixels and more unless told otherwise."""
    return minari(root, jpeg=True)


def minari(root: Path, jpeg: bool = False) -> Made:
    """Written by Minari's own library: one observation more than actions."""
    episodes = squares()
    buffers = []
    for number, episode in enumerate(episodes):
        length = len(episode.frames)
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=np.concatenate([episode.frames, episode.frames[-1:]]),
                actions=episode.columns.actions[:, 0].astype(np.int64),  # type: ignore[index]
                rewards=[0.0] * length,
                terminations=[False] * length,
                truncations=[step == length - 1 for step in range(length)],
            )
        )
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no environment to evaluate in
        home = root.with_name(f"{root.name}-home")
        patch.setenv("MINARI_DATASETS_PATH", str(home))
        written = create_dataset_from_buffers(
            "squares/move-v0",
            buffers,
            action_space=gymnasium.spaces.Discrete(DISCRETE.num_choices[0]),
            observation_space=gymnasium.spaces.Box(0, 255, episodes[0].frames.shape[1:], np.uint8),
            data_format="hdf5",
            jpeg_encoding=jpeg,
        )
    frames = [read.observations[:-1] for read in written.iterate_episodes()]  # as the library reads them
    (home / "squares" / "move-v0").rename(root)
    return Made(root, [Episode(root.name, f, e.columns) for f, e in zip(frames, episodes, strict=True)])


def procgen_npz(root: Path) -> Made:
    episodes = squares()
    (root / "train").mkdir(parents=True)
    done = np.concatenate([np.arange(len(e.frames)) == len(e.frames) - 1 for e in episodes])
    np.savez_compressed(
        root / "train/0.npz",
        obs=np.concatenate([episode.frames for episode in episodes]),
        ta=np.concatenate([episode.columns.actions[:, 0] for episode in episodes]).astype(np.int64),  # type: ignore[index]
        done=done,
        rewards=np.zeros(len(done), np.float32),
        ep_returns=np.zeros(len(done), np.float32),
        values=np.zeros(len(done), np.float32),
    )
    return Made(root, [Episode("train", episode.frames, episode.columns) for episode in episodes])


def trajectory_npz(root: Path) -> Made:
    episodes = by_task(squares())
    for number, episode in enumerate(episodes):
        (root / episode.task).mkdir(parents=True, exist_ok=True)
        actions = episode.columns.actions[:, 0].astype(np.int64)  # type: ignore[index]
        np.savez_compressed(root / episode.task / f"{number}.npz", video=episode.frames, actions=actions)
    return Made(root, episodes)


def web_videos(root: Path) -> Made:
    episodes = squares()
    root.mkdir(parents=True)
    with webdataset.TarWriter(str(root / "shard-000000.tar")) as shard:
        for number, episode in enumerate(episodes):
            write_lossless(root / "clip.mp4", episode.frames)
            actions = episode.columns.actions[:, 0].astype(int).tolist()  # type: ignore[index]
            data = (root / "clip.mp4").read_bytes()
            shard.write({"__key__": f"clip{number}", "mp4": data, "json": {"actions": actions}})
            (root / "clip.mp4").unlink()
    return Made(root, [Episode(root.name, e.frames, e.columns) for e in episodes], fps=10)


def web_pictures(root: Path) -> Made:
    episodes = squares()
    root.mkdir(parents=True)
    with webdataset.TarWriter(str(root / "shard-000000.tar")) as shard:
        for number, episode in enumerate(episodes):
            for step, frame in enumerate(episode.frames):
                action = int(episode.columns.actions[step, 0])  # type: ignore[index]
                shard.write({"__key__": f"run{number}/{step:06d}", "png": png(frame), "cls": action})
    return Made(root, [Episode(root.name, e.frames, e.columns) for e in episodes])


def png(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "png")
    return file.getvalue()


FORMATS: dict[str, tuple[str, Callable[[Path], Made]]] = {
    "lerobot": ("lerobot", lerobot),
    "lerobot-v2.1": ("lerobot", lerobot_v21),
    "row-parquet": ("row-parquet", row_parquet),
    "video-folder": ("video-folder", video_folder),
    "frame-folder": ("frame-folder", frame_folder),
    "mp4-json": ("mp4-json", mp4_json),
    "robomimic": ("robomimic", robomimic),
    "laom": ("laom", laom),
    "minari": ("minari", minari),
    "minari-jpeg": ("minari", minari_jpeg),
    "procgen-npz": ("procgen-npz", procgen_npz),
    "trajectory-npz": ("trajectory-npz", trajectory_npz),
    "webdataset-videos": ("webdataset", web_videos),
    "webdataset-pictures": ("webdataset", web_pictures),
}
"""Format of the reader, and what writes a dataset of it, by the name of a test case."""


def truncate(file: Path, share: float = 0.5) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])


def members(shard: Path) -> list[str]:
    with tarfile.open(shard) as archive:
        return archive.getnames()

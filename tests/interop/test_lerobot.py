"""LeRobot 0.4.4 itself, in its own environment (`make test-lerobot`): it opens what we write, and we what it writes."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dataset_formats import lerobot
from flexlam.data.readers import open_dataset
from flexlam.export.codes import encode_dataset
from flexlam.export.encoding import EncodeConfig

PYTHON = os.environ.get("FLEXLAM_LEROBOT")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="FLEXLAM_LEROBOT names no Python with LeRobot 0.4.4 (make test-lerobot)"),
]
READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("local/read", root=sys.argv[1])
rows = [data[i] for i in range(len(data))]
shown = {name: [row[name].tolist() for row in rows] for name in sys.argv[2:]}
stats = {name: {key: value.tolist() for key, value in of.items()} for name, of in data.meta.stats.items()}
print(json.dumps({"episodes": data.num_episodes, "features": list(data.features), "stats": stats, **shown}))
"""
WRITE = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
features = {
    "observation.images.front": {"dtype": "image", "shape": (32, 32, 3), "names": ["height", "width", "channels"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
}
data = LeRobotDataset.create("local/written", 10, features, root=sys.argv[1], use_videos=False)
rng = np.random.default_rng(0)
for length in (8, 9, 10):
    for _ in range(length):
        frame = rng.integers(0, 255, (32, 32, 3), np.uint8)
        data.add_frame({
            "observation.images.front": frame, "action": rng.normal(size=2).astype(np.float32), "task": "push"
        })
    data.save_episode()
data.finalize()
"""


def lerobots(script: str, *arguments: object) -> str:
    """What a script prints under LeRobot's Python."""
    shim = Path(__file__).parent / "shim"
    environment = os.environ | {"PYTHONPATH": str(shim), "HF_HUB_OFFLINE": "1"}
    command = [str(PYTHON), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lerobot_opens_what_we_write(tmp_path: Path) -> None:
    made = lerobot(tmp_path / "ours")
    found = json.loads(lerobots(READ, made.path, "action", "observation.image").splitlines()[-1])
    assert found["episodes"] == len(made.episodes)
    assert np.array_equal(found["action"], np.concatenate([e.columns.actions[:, 0] for e in made.episodes]))
    frames = np.array(found["observation.image"]).transpose(0, 2, 3, 1)
    assert np.allclose(frames * 255, np.concatenate([episode.frames for episode in made.episodes]), atol=1e-3)


def test_we_read_what_lerobot_writes_and_it_opens_our_codes(tmp_path: Path) -> None:
    lerobots(WRITE, tmp_path / "theirs")
    reader = open_dataset(tmp_path / "theirs")
    assert [episode.length for episode in reader.episodes()] == [8, 9, 10] and reader.info.tasks == ("push",)
    rng = np.random.default_rng(0)
    for episode in reader.episodes():
        columns = reader.columns(episode)
        for step, frame in enumerate(reader.frames(episode)):
            assert np.array_equal(frame, rng.integers(0, 255, (32, 32, 3), np.uint8))
            assert np.allclose(columns.actions[step], rng.normal(size=2).astype(np.float32))
    model = Path(__file__).parents[2] / "checkpoints" / "vizdoom-small"
    config = EncodeConfig(run=str(model), data=str(tmp_path / "theirs"), prefix_length=4)
    encode_dataset(config, tmp_path / "coded", "lerobot", announce=lambda _: None)
    found = json.loads(lerobots(READ, tmp_path / "coded", "latent_action", "action").splitlines()[-1])
    codes = np.array(found["latent_action"])
    assert codes.shape == (27, 4) and [row for row in range(27) if (codes[row] == -1).all()] == [7, 16, 26]
    assert np.allclose(found["stats"]["latent_action"]["mean"], codes[codes[:, 0] >= 0].mean(0))

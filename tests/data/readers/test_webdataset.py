import io
import json
import tarfile

import numpy as np
import pytest

from dataset_formats import png, truncate, web_pictures, web_videos
from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset


def write(path, files):
    with tarfile.open(path, "w") as shard:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_actions_of_a_video_may_lie_in_an_array(tmp_path):
    made = web_videos(tmp_path / "d")
    with tarfile.open(made.path / "shard-000000.tar") as shard:
        video = shard.extractfile("clip0.mp4").read()
    actions = made.episodes[0].columns.actions
    write(tmp_path / "one.tar", {"x/clip.mp4": video, "x/clip.actions.npy": npy(actions.astype(np.int64))})
    reader = open_dataset(tmp_path / "one.tar")
    assert np.array_equal(reader.columns(reader.episodes()[0]).actions, actions)
    assert reader.episodes()[0].name == "one.tar/x/clip"


def test_steps_may_have_their_actions_in_json(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 3), np.uint8)
    files = {}
    for step, frame in enumerate(frames):
        files[f"run_{step}.png"] = png(frame)
        files[f"run_{step}.json"] = json.dumps({"action": [step / 2, 1.0]}).encode()
    write(tmp_path / "one.tar", files)
    reader = open_dataset(tmp_path)
    assert reader.info.action_spec.num_continuous == 2
    assert reader.columns(reader.episodes()[0]).actions.tolist() == [[0, 1], [0.5, 1], [1, 1]]


def test_steps_of_which_some_have_no_action_have_none(tmp_path):
    frame = png(np.zeros((8, 8, 3), np.uint8))
    write(tmp_path / "one.tar", {"a0.png": frame, "a0.cls": b"1", "a1.png": frame})
    assert open_dataset(tmp_path).info.action_spec is None


def test_a_damaged_shard_fails_alone(tmp_path):
    made = web_pictures(tmp_path / "d")
    (made.path / "shard-000001.tar").write_bytes((made.path / "shard-000000.tar").read_bytes())
    truncate(made.path / "shard-000001.tar")
    reader = open_dataset(made.path)
    *good, bad = reader.episodes()
    assert len(good) == 3
    with pytest.raises(DataError, match=r"shard-000001\.tar cannot be read"):
        reader.columns(bad)
    with pytest.raises(DataError, match=r"shard-000001\.tar cannot be read"):
        list(reader.frames(bad))


def test_a_damaged_picture_and_a_damaged_class_are_named(tmp_path):
    frame = png(np.zeros((8, 8, 3), np.uint8))
    write(tmp_path / "one.tar", {"a0.png": frame, "a1.png": b"no"})
    reader = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"one\.tar/a1: the picture cannot be decoded"):
        list(reader.frames(reader.episodes()[0]))
    write(tmp_path / "one.tar", {"a0.png": frame, "a0.cls": b"left"})
    with pytest.raises(DataError, match=r"a0\.cls holds no whole number"):
        open_dataset(tmp_path)


def test_a_shard_of_neither_is_refused(tmp_path):
    write(tmp_path / "one.tar", {"a.txt": b"hello"})
    with pytest.raises(DataError, match="no tar shard with videos or pictures"):
        open_dataset(tmp_path)

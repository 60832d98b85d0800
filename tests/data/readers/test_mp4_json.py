import gzip
import json

import numpy as np
import pytest

from dataset_formats import mp4_json
from flexlam.core.errors import DataError
from flexlam.data.readers.mp4_json import Mp4JsonReader


def change(side, **values):
    record = json.loads(gzip.decompress(side.read_bytes())) | values
    side.write_bytes(gzip.compress(json.dumps(record).encode()))


@pytest.fixture
def sides(tmp_path):
    made = mp4_json(tmp_path / "d")
    return made, sorted(made.path.rglob("*.json.gz"))


def test_rows_are_as_recorded(sides):
    made, _ = sides
    reader = Mp4JsonReader(made.path)
    columns = reader.columns(reader.episodes()[0])
    assert reader.info.action_timing == "precedes"
    assert np.array_equal(columns.actions[1:], made.episodes[0].columns.actions), "the first led to nothing"
    assert columns.rewards is not None and columns.rewards[1:3].tolist() == [0.0, 1.0]


def test_indices_are_choices_too(sides):
    made, files = sides
    for side in files:
        change(side, action=np.argmax(json.loads(gzip.decompress(side.read_bytes()))["action"], 1).tolist())
    reader = Mp4JsonReader(made.path)
    assert reader.info.action_spec.num_choices == (5,)
    assert np.array_equal(reader.columns(reader.episodes()[0]).actions[1:], made.episodes[0].columns.actions)


def test_plain_json_is_read(sides):
    made, files = sides
    for side in files:
        side.with_name(side.name.removesuffix(".gz")).write_bytes(gzip.decompress(side.read_bytes()))
        side.unlink()
    assert Mp4JsonReader(made.path).info.num_episodes == 3


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda side: side.write_bytes(b"\x1f\x8b no"), "is no JSON, or is damaged"),
        (lambda side: side.write_bytes(b"[1]"), "holds no JSON object"),
        (lambda side: change(side, action=[[1, 0, 0, 0, 0]]), r"1 actions for the \d+ frames"),
        (lambda side: change(side, reward=[1.0]), r"1 rewards for the \d+ frames"),
        (lambda side: change(side, action=["up", "down"]), "cannot be read as numbers"),
        (lambda side: side.with_name(side.name.split(".")[0] + ".mp4").write_bytes(b"no"), "cannot be read"),
    ],
)
def test_one_damaged_recording_fails_alone(sides, damage, told):
    made, files = sides
    damage(files[1])
    reader = Mp4JsonReader(made.path)
    episodes = reader.episodes()
    with pytest.raises(DataError, match=told):
        reader.columns(episodes[1])
    assert len(reader.columns(episodes[0]).actions) == len(list(reader.frames(episodes[0])))


def test_only_damaged_recordings_are_no_dataset(sides):
    made, files = sides
    for side in files:
        side.write_bytes(b"no")
    with pytest.raises(DataError, match=r"None of the 3 recordings.*is no JSON"):
        Mp4JsonReader(made.path)

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataset_formats import FORMATS, truncate
from flexlam.core.errors import DataError
from flexlam.data import video
from flexlam.data.inspect import as_lines, check, describe
from flexlam.data.parts import StoreConfig
from flexlam.data.readers import open_dataset
from flexlam.data.store_builder import build_store

DATA = "data/chunk-000/file-000.parquet"


def convert(path, to):
    build_store(open_dataset(path), to, StoreConfig(frame_size=None), announce=lambda _: None)
    return to


def replace_column(path, name, values):
    table = pq.read_table(path / DATA)
    place = table.column_names.index(name)
    pq.write_table(table.set_column(place, name, pa.array(values, table[name].type)), path / DATA)


def findings(path):
    return [(row.severity, row.episode, row.what) for row in check(path).rows]


def test_a_dataset_and_its_store_are_described_alike(tmp_path, moving_square_dataset):
    dataset = moving_square_dataset((7, 2, 5)).path
    of_dataset, of_store = describe(dataset), describe(convert(dataset, tmp_path / "s"))
    same = ("num_episodes", "num_frames", "fps", "frame_shape", "episode_length", "action_spec", "tasks")
    assert {key: of_dataset[key] for key in same} == {key: of_store[key] for key in same}
    assert of_dataset["tasks"] == {"a": 2, "b": 1} and of_dataset["episode_length"]["max"] == 7
    assert of_dataset["seconds"] == pytest.approx(1.6) and of_dataset["num_bytes"] > 0
    assert json.loads(json.dumps(of_store)) == of_store
    assert "num frames" in as_lines(of_dataset) and "16 x 16 x 3" in as_lines(of_dataset)


def test_sound_data_passes(tmp_path, moving_square_dataset):
    path = moving_square_dataset((7, 2, 5)).path
    for place in (path, convert(path, tmp_path / "s")):
        report = check(place, strict=True)
        assert report.ok and not report.rows and report.num_frames == 14
        assert "nothing to complain about" in report.table()


def test_short_and_constant_episodes_are_warnings_that_count_when_strict(moving_square_dataset):
    path = moving_square_dataset((7, 1, 5)).path
    pictures = pq.read_table(path / DATA)["observation.image"].to_pylist()
    replace_column(path, "observation.image", pictures[:8] + [pictures[8]] * 5)
    assert findings(path) == [
        ("warning", "episode 1", "has 1 frame(s); a transition needs two"),
        ("warning", "episode 2", "every frame is the same"),
        ("warning", "", "2 usable episode(s): training, validation and test want 3; cut long recordings into several"),
    ]
    assert check(path).ok and not check(path, strict=True).ok


def test_bad_actions_are_errors(moving_square_dataset):
    path = moving_square_dataset((4, 4, 4)).path
    actions = pq.read_table(path / DATA)["action"].to_numpy().copy()
    actions[1], actions[6] = 9, np.nan
    replace_column(path, "action", actions)
    rows = findings(path)
    assert [(severity, episode) for severity, episode, _ in rows] == [
        ("error", "episode 0"),
        ("error", "episode 1"),
    ], rows
    assert "holds 9" in rows[0][2] and "NaN" in rows[1][2]
    assert not check(path).ok


def test_bad_rewards_and_missing_frames_are_errors(moving_square_dataset):
    path = moving_square_dataset((4, 4)).path
    rewards = pq.read_table(path / DATA)["next.reward"].to_numpy().copy()
    rewards[0] = np.inf
    replace_column(path, "next.reward", rewards)
    pq.write_table(pq.read_table(path / DATA).slice(0, 7), path / DATA)
    rows = findings(path)
    assert ("error", "episode 0", "rewards contain NaN or infinity") in rows
    assert any(episode == "episode 1" and "3 of the 4 rows" in what for _, episode, what in rows)


def test_unreadable_pictures_and_changing_sizes_are_found(moving_square_dataset, make_episode):
    from flexlam.data.png import encode_png

    path = moving_square_dataset((3, 3, 3)).path
    pictures = pq.read_table(path / DATA)["observation.image"].to_pylist()
    pictures[1]["bytes"] = b"no picture"
    for step, frame in enumerate(make_episode(3, 0, size=20).frames):
        pictures[6 + step]["bytes"] = encode_png(frame)
    replace_column(path, "observation.image", pictures)
    rows = findings(path)
    assert rows[0][:2] == ("error", "episode 0") and "cannot be read" in rows[0][2]
    assert [row for row in rows if "sizes" in row[2]] == [
        ("warning", "", "frames have several sizes: 16 x 16 in 1, 20 x 20 in 1 episodes; they will be resized")
    ]


def test_unreadable_videos_are_found(tmp_path, make_episode, write_video):
    write_video(tmp_path / "a.mp4", make_episode(5, 0, size=32).frames, 10)
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    rows = findings(tmp_path)
    assert [row[:2] for row in rows] == [("error", "b.mp4"), ("warning", "")] and "1 usable" in rows[1][2]
    about = describe(tmp_path)
    assert about["num_episodes"] == 2 and about["unreadable"].startswith("1, which convert leaves out: b.mp4 (")
    assert "unreadable" in as_lines(about)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("robomimic", "a.hdf5"),
        ("procgen-npz", "train/1.npz"),
        ("trajectory-npz", "a/0.npz"),
        ("webdataset-pictures", "shard-000001.tar"),
        ("mp4-json", "*/*.json.gz"),
    ],
)
def test_info_names_what_cannot_be_read_in_every_format(tmp_path, name, file):
    made = FORMATS[name][1](tmp_path / "d")
    if not any(made.path.glob(file)):  # the case writes one file only
        first = next(path for path in sorted(made.path.rglob("*")) if path.is_file())
        (made.path / file).write_bytes(first.read_bytes())
    assert "unreadable" not in describe(made.path)
    damaged = min(made.path.glob(file))
    truncate(damaged, 0.4)
    about = describe(made.path)
    assert about["unreadable"].startswith("1, which convert leaves out: "), about
    assert damaged.name.split(".")[0] in about["unreadable"]


def test_a_damaged_store_is_found(tmp_path, moving_square_dataset):
    store = convert(moving_square_dataset((4, 4)).path, tmp_path / "s")
    data = bytearray((store / "frames-00000.bin").read_bytes())
    data[5] ^= 1
    (store / "frames-00000.bin").write_bytes(data)
    assert "content hashes to" in findings(store)[0][2]


def test_constant_episodes_of_a_store_are_found(make_episode, memory_reader, build):
    episode = make_episode(4, 0)
    episode.frames[:] = episode.frames[0]
    store, _ = build(memory_reader([episode, make_episode(4, 1)]))
    assert findings(store.path) == [("warning", "episode 0", "every frame is the same")]


def test_the_report_reads_as_a_table_and_as_json(moving_square_dataset):
    report = check(moving_square_dataset((7, 1)).path)
    assert "0 error(s), 2 warning(s)" in report.table() and "episode 1" in report.table()
    values = json.loads(report.to_json())
    assert values["ok"] is True and values["rows"][0]["severity"] == "warning"


def test_what_cannot_be_opened_is_an_error(tmp_path):
    for look in (check, describe):
        with pytest.raises(DataError):
            look(tmp_path / "missing")


def test_copies_and_differing_frame_rates_are_found(tmp_path, make_episode, write_video):
    frames = make_episode(8, 0, size=32).frames
    write_video(tmp_path / "a.mp4", frames, 10)
    (tmp_path / "b.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    write_video(tmp_path / "c.mp4", make_episode(8, 1, size=32).frames, 30)
    rows = findings(tmp_path)
    assert ("warning", "b.mp4", "has the very frames of a.mp4") in rows
    assert any(row[1] == "" and "frame rates differ: 10 in 2, 30 in 1" in row[2] for row in rows)


def test_a_decoder_that_crashes_is_a_finding(tmp_path, make_episode, write_video, monkeypatch):
    for name in "abc":
        write_video(tmp_path / f"{name}.mp4", make_episode(8, ord(name), size=32).frames, 10)
    decode = video.decode

    def crash(file, *arguments, **options):
        if getattr(file, "name", "") == "b.mp4":
            os.abort()
        return decode(file, *arguments, **options)

    monkeypatch.setattr(video, "decode", crash)
    rows = findings(tmp_path)
    assert rows[0][:2] == ("error", "b.mp4") and "crashed (SIGABRT)" in rows[0][2]
    assert check(tmp_path, num_workers=2).num_frames == 16

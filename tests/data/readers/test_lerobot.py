import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.data import lerobot_format as layout
from flexlam.data.readers.lerobot import LeRobotReader

SPECS = {
    "discrete": ActionSpec(num_choices=(5,), names=("stay", "right", "left", "down", "up")),
    "continuous": ActionSpec(num_continuous=3),
    "mixed": ActionSpec(num_choices=(5, 2), num_continuous=2),
    "none": None,
}


def edit_info(path, change):
    info = json.loads((path / "meta/info.json").read_text())
    change(info)
    (path / "meta/info.json").write_text(json.dumps(info))


@pytest.mark.parametrize("codec", ["png", "mp4-lossless"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_is_written_is_read_back_exactly(moving_square_dataset, spec, codec):
    dataset = moving_square_dataset((7, 1, 12), spec=spec, codec=codec)
    reader = LeRobotReader(dataset.path)
    assert (reader.info.num_episodes, reader.info.num_frames, reader.info.fps) == (3, 20, 8.75)
    assert reader.info.action_spec == spec and reader.info.tasks == ("a", "b")
    for info, episode in zip(reader.episodes(), dataset.episodes, strict=True):
        columns = reader.columns(info)
        assert (info.task, info.length) == (episode.task, len(episode.frames))
        assert np.array_equal(np.stack(list(reader.frames(info))), episode.frames)
        assert np.array_equal(columns.times, episode.columns.times)
        assert np.array_equal(columns.rewards, episode.columns.rewards)
        assert np.array_equal(columns.extras["position"], episode.columns.extras["position"])
        assert (columns.actions is None) if spec is None else np.array_equal(columns.actions, episode.columns.actions)


def test_episodes_can_be_read_in_any_order(moving_square_dataset):
    dataset = moving_square_dataset((7, 2, 5))
    reader = LeRobotReader(dataset.path)
    for number in (2, 0, 1, 0):
        frames = np.stack(list(reader.frames(reader.episodes()[number])))
        assert np.array_equal(frames, dataset.episodes[number].frames)


def test_one_row_group_for_many_episodes_is_understood(moving_square_dataset):
    dataset = moving_square_dataset((7, 2, 5))
    file = dataset.path / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(file), file, row_group_size=4)
    reader = LeRobotReader(dataset.path)
    for info, episode in zip(reader.episodes(), dataset.episodes, strict=True):
        assert np.array_equal(np.stack(list(reader.frames(info))), episode.frames)
        assert np.array_equal(reader.columns(info).actions, episode.columns.actions)


def test_without_our_metadata_the_types_decide_what_actions_are(moving_square_dataset):
    discrete = moving_square_dataset((20,), name="discrete").path
    continuous = moving_square_dataset((20,), spec=SPECS["continuous"], name="continuous").path
    file = discrete / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    place = table.column_names.index("action")
    pq.write_table(table.set_column(place, "action", table["action"].cast(pa.int64())), file)
    edit_info(discrete, lambda info: info["features"]["action"].update(dtype="int64"))
    for path in (discrete, continuous):
        (path / layout.OUR_METADATA).unlink()
    assert LeRobotReader(discrete).info.action_spec == ActionSpec(num_choices=(5,))
    assert LeRobotReader(continuous).info.action_spec.num_continuous == 3
    assert LeRobotReader(discrete).columns(LeRobotReader(discrete).episodes()[0]).actions.dtype == np.float32


def test_the_camera_can_be_chosen(moving_square_dataset):
    path = moving_square_dataset().path
    edit_info(path, lambda info: info["features"].update(wrist=info["features"][layout.CAMERA]))
    assert LeRobotReader(path).camera == layout.CAMERA
    assert LeRobotReader(path, camera="wrist").camera == "wrist"
    with pytest.raises(ConfigError, match="wrist"):
        LeRobotReader(path, camera="front")


def test_frame_shapes_are_understood_channels_first(moving_square_dataset):
    path = moving_square_dataset().path
    names = ["channels", "height", "width"]
    edit_info(path, lambda info: info["features"][layout.CAMERA].update(shape=[3, 16, 16], names=names))
    assert LeRobotReader(path).info.frame_shape == (16, 16, 3)


def test_other_versions_are_refused(moving_square_dataset):
    path = moving_square_dataset().path
    edit_info(path, lambda info: info.update(codebase_version="v1.6"))
    with pytest.raises(DataError, match=r"v1\.6.*v3\.0 and v2\.1"):
        LeRobotReader(path)


@pytest.mark.parametrize("content", ["{", "[]", '{"codebase_version": "v3.0"}'])
def test_damaged_metadata_is_named(moving_square_dataset, content):
    path = moving_square_dataset().path
    (path / "meta/info.json").write_text(content)
    with pytest.raises(DataError, match=r"info\.json"):
        LeRobotReader(path)


def test_a_truncated_data_file_is_named(moving_square_dataset):
    path = moving_square_dataset().path
    file = path / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    reader = LeRobotReader(path)
    with pytest.raises(DataError, match=r"file-000\.parquet"):
        list(reader.frames(reader.episodes()[0]))
    with pytest.raises(DataError, match=r"file-000\.parquet"):
        reader.columns(reader.episodes()[0])


def test_a_damaged_picture_names_its_frame(moving_square_dataset):
    path = moving_square_dataset((4,)).path
    file = path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    cells = table[layout.CAMERA].to_pylist()
    cells[2]["bytes"] = cells[2]["bytes"][:60]
    place = table.column_names.index(layout.CAMERA)
    pq.write_table(table.set_column(place, layout.CAMERA, pa.array(cells, table[layout.CAMERA].type)), file)
    reader = LeRobotReader(path)
    with pytest.raises(DataError, match="episode 0, frame 2"):
        list(reader.frames(reader.episodes()[0]))


def test_rows_that_are_missing_are_noticed(moving_square_dataset):
    path = moving_square_dataset((7, 5)).path
    file = path / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(file).slice(0, 9), file)
    reader = LeRobotReader(path)
    with pytest.raises(DataError, match="2 of the 5 rows"):
        reader.columns(reader.episodes()[1])


def test_rows_of_another_episode_are_noticed(moving_square_dataset):
    path = moving_square_dataset((5, 5)).path
    file = path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    pq.write_table(pa.concat_tables([table.slice(5), table.slice(0, 5)]), file)
    reader = LeRobotReader(path)
    with pytest.raises(DataError, match="another episode"):
        reader.columns(reader.episodes()[0])

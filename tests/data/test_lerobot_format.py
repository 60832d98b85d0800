import json

import numpy as np
import pyarrow.parquet as pq

from flexlam.core.action import ActionSpec
from flexlam.data import lerobot_format as layout


def test_tasks_are_a_pandas_frame_with_an_unnamed_index(tmp_path):
    layout.write_tasks(tmp_path / "tasks.parquet", ["push", "pull"])
    table = pq.read_table(tmp_path / "tasks.parquet")
    pandas = json.loads(table.schema.metadata[b"pandas"])
    assert pandas["index_columns"] == ["__index_level_0__"]
    assert table["__index_level_0__"].to_pylist() == ["push", "pull"]
    assert table["task_index"].to_pylist() == [0, 1]


def test_running_statistics_equal_those_of_the_whole():
    values = np.random.default_rng(0).normal(3, 2, (100, 4))
    stats = layout.RunningStats(4)
    for piece in np.split(values, [1, 30, 77]):
        stats.update(piece)
    got = stats.as_json((4,))
    for key, expected in {
        "min": values.min(0),
        "max": values.max(0),
        "mean": values.mean(0),
        "std": values.std(0),
    }.items():
        assert np.allclose(got[key], expected)
    assert got["count"] == [100]


def test_every_action_dimension_has_one_name():
    named = ActionSpec(num_continuous=2, names=("x", "y"))
    buttons = ActionSpec(num_choices=(3,), names=("left", "stay", "right"))
    mixed = ActionSpec(num_choices=(3, 2), num_continuous=1)
    assert layout.action_names(named) == ["x", "y"]
    assert [len(layout.action_names(spec)) for spec in (named, buttons, mixed)] == [2, 1, 3]


def test_file_numbers_roll_over_into_the_next_chunk():
    assert [layout.chunk_and_file(n) for n in (0, 999, 1000)] == [(0, 0), (0, 999), (1, 0)]

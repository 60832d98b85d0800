import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexlam.core.errors import ConfigError
from flexlam.data.readers import open_dataset
from flexlam.export.lerobot import FEATURE
from flexlam.lam.model import LatentActionModel


@pytest.mark.parametrize("k", [1, 3])
def test_every_frame_has_the_codes_of_the_transition_that_begins_there(made, encode, model, tmp_path, k):
    dataset = made("lerobot")
    encode(dataset.path, "out", "lerobot", prefix_length=k)
    lam = LatentActionModel.from_pretrained(model)
    table = pa.concat_tables([pq.read_table(file) for file in sorted((tmp_path / "out/data").glob("*/*.parquet"))])
    values = np.array(table[FEATURE].to_pylist()).reshape(-1, k)
    start = 0
    for episode in dataset.episodes:
        length = len(episode.frames)
        codes = lam.encode(episode.frames[:-1], episode.frames[1:]).indices[:, :k].numpy()
        assert np.array_equal(values[start : start + length - 1], codes)
        assert (values[start + length - 1] == -1).all()
        start += length
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["features"][FEATURE]["shape"] == [k] and len(info["features"][FEATURE]["names"]) == k
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())[FEATURE]
    coded = values[values[:, 0] >= 0]
    assert np.allclose(stats["mean"], coded.mean(0)) and stats["count"] == [len(coded)]
    about = json.loads((tmp_path / "out/meta/latent_action.json").read_text())
    assert about["model_hash"] == lam.hash and about["prefix_length"] == k


def test_everything_else_is_as_it_was(made, encode, tmp_path):
    dataset = made("lerobot")
    encode(dataset.path, "out", "lerobot")
    reader = open_dataset(tmp_path / "out")
    for found, wanted in zip(reader.episodes(), dataset.episodes, strict=True):
        assert np.array_equal(np.stack(list(reader.frames(found))), wanted.frames)
        assert np.array_equal(reader.columns(found).actions, wanted.columns.actions)
    before, after = (pq.ParquetFile(next(path.glob("data/*/*.parquet"))) for path in (dataset.path, tmp_path / "out"))
    assert before.num_row_groups == after.num_row_groups
    assert after.schema_arrow.names == [*before.schema_arrow.names, FEATURE]


def test_statistics_of_episodes_are_kept_where_the_dataset_has_them(made, encode, tmp_path):
    dataset = made("lerobot")
    file = next((dataset.path / "meta/episodes").glob("*/*.parquet"))
    table = pq.read_table(file)
    for name in ("min", "mean", "count"):
        table = table.append_column(f"stats/action/{name}", pa.array([[0.0]] * len(table)))
    pq.write_table(table, file)
    encode(dataset.path, "out", "lerobot", prefix_length=2)
    table = pq.read_table(next((tmp_path / "out/meta/episodes").glob("*/*.parquet")))
    assert [name for name in table.column_names if FEATURE in name] == [
        f"stats/{FEATURE}/{name}" for name in ("count", "mean", "min")
    ]
    assert table[f"stats/{FEATURE}/count"].to_pylist() == [[len(e.frames) - 1] for e in dataset.episodes]


def test_what_the_datasets_library_keeps_is_brought_up_to_date(made, encode, tmp_path):
    dataset = made("lerobot")
    file = next((dataset.path / "data").glob("*/*.parquet"))
    table = pq.read_table(file)
    about = {"info": {"features": {"action": {"dtype": "float32", "_type": "Value"}}}}
    pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(about).encode()}), file)
    encode(dataset.path, "out", "lerobot", prefix_length=2)
    metadata = pq.read_schema(next((tmp_path / "out/data").glob("*/*.parquet"))).metadata
    assert json.loads(metadata[b"huggingface"])["info"]["features"][FEATURE]["length"] == 2


def test_other_data_are_refused(made, encode, tmp_path):
    with pytest.raises(ConfigError, match="copies a local LeRobot dataset"):
        encode(made("video-folder").path, "out", "lerobot")
    with pytest.raises(ConfigError, match=r"LeRobot v2\.1; only v3\.0"):
        encode(made("lerobot-v2.1").path, "out", "lerobot")
    dataset = made("lerobot")
    encode(dataset.path, "out", "lerobot")
    with pytest.raises(ConfigError, match="'latent_action' already"):
        encode(tmp_path / "out", "twice", "lerobot")

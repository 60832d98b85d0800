"""The LeRobot v3.0 layout, shared by writer and reader: where files lie and how columns are typed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.action import ActionSpec

CODEBASE_VERSION = "v3.0"
CAMERA = "observation.image"
REWARD = "next.reward"
EXTRAS = "extras."
FILES_PER_CHUNK = 1000
DATA_FILE_MEGABYTES = 100
VIDEO_FILE_MEGABYTES = 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
V2_DATA_PATH = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
# What LeRobot has no place for (the exact action spec and frame rate); other readers ignore it.
OUR_METADATA = "meta/flexlam.json"

BOOKKEEPING: dict[str, pa.DataType] = {
    "timestamp": pa.float32(),
    "frame_index": pa.int64(),
    "episode_index": pa.int64(),
    "index": pa.int64(),
    "task_index": pa.int64(),
}


def chunk_and_file(number: int) -> tuple[int, int]:
    """Chunk index and file index of the n-th file."""
    return divmod(number, FILES_PER_CHUNK)


def vector_feature(width: int, names: list[str] | None) -> dict[str, Any]:
    """Entry of info.json for a float32 vector."""
    return {"dtype": "float32", "shape": [width], "names": names}


def vector_type(width: int) -> pa.DataType:
    """Column type of a float32 vector; LeRobot keeps vectors of one number as plain numbers."""
    return pa.float32() if width == 1 else pa.list_(pa.float32(), width)


def vector_column(values: np.ndarray) -> pa.Array:
    """Column of float32 vectors (T, width)."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def action_names(spec: ActionSpec) -> list[str]:
    """One name for each dimension of the action vector."""
    if len(spec.names) == spec.num_dims and (spec.num_continuous or len(spec.num_choices) > 1):
        return list(spec.names)
    return ["choice"] if spec.num_dims == 1 and spec.num_choices else [f"action_{i}" for i in range(spec.num_dims)]


def write_tasks(path: Path, tasks: list[str]) -> None:
    """tasks.parquet as pandas writes a frame whose unnamed index is the task text."""
    index = "__index_level_0__"
    column = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    pandas = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [{**number, "metadata": None}, {"name": None, "field_name": index, **column}],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


class RunningStats:
    """Minimum, maximum, mean and standard deviation of vectors that come in pieces."""

    def __init__(self, width: int) -> None:
        self.count = 0
        self._min = np.full(width, np.inf)
        self._max = np.full(width, -np.inf)
        self._sum = np.zeros(width)
        self._squares = np.zeros(width)

    def update(self, values: np.ndarray) -> None:
        """Take in values (N, width)."""
        values = np.asarray(values, np.float64)
        self.count += len(values)
        self._min = np.minimum(self._min, values.min(0))
        self._max = np.maximum(self._max, values.max(0))
        self._sum += values.sum(0)
        self._squares += (values**2).sum(0)

    def as_json(self, shape: tuple[int, ...], count: int | None = None) -> dict[str, Any]:
        """What stats.json says of the feature, each number in the given shape."""
        mean = self._sum / self.count
        spread = np.sqrt(np.maximum(self._squares / self.count - mean**2, 0))
        numbers = {"min": self._min, "max": self._max, "mean": mean, "std": spread}
        return {key: value.reshape(shape).tolist() for key, value in numbers.items()} | {"count": [count or self.count]}

"""A copy of a LeRobot v3.0 dataset with the codes as a feature, `latent_action`."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flexlam.core.errors import ConfigError
from flexlam.core.files import write_text
from flexlam.data import lerobot_format as layout
from flexlam.data.location import is_local, located
from flexlam.export.encoding import Encoding, codes_of, read_shard

FEATURE = "latent_action"
NONE = -1
"""What stands where there is no transition: at the last frame of an episode (at the last ones, with a wider gap)."""
_HUGGING_FACE = b"huggingface"


class LeRobotCodes:
    """Every row gets the codes of the transition that begins there, k whole numbers, or -1 where none begins.

    Schema, statistics and metadata are brought up to date; meta/latent_action.json says what the codes are.
    """

    @staticmethod
    def check(encoding: Encoding) -> None:
        """Refuse data that are no local LeRobot v3.0 dataset, or have the feature already.

        Raises:
            ConfigError: they are not, or have.
        """
        place = located(encoding.config.data)
        info = place / "meta" / "info.json"
        if not is_local(place) or not info.is_file():
            raise ConfigError(f"--format lerobot copies a local LeRobot dataset; {place} is none. Take parquet.")
        about = json.loads(info.read_text())
        if not str(about.get("codebase_version")).startswith("v3."):
            version = about.get("codebase_version")
            raise ConfigError(f"{place} is LeRobot {version}; only v3.0 can be written. Convert it with LeRobot first.")
        if FEATURE in about["features"]:
            raise ConfigError(f"{place} has a feature {FEATURE!r} already. Encode the dataset that it was made from.")

    @staticmethod
    def write(encoding: Encoding, files: list[Path], out: Path) -> None:
        """Copy the dataset, with a column more in its data and its metadata."""
        source, k = Path(encoding.config.data), encoding.prefix_length
        shutil.copytree(source, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        codes = _Codes(files, encoding)
        for file in sorted((out / "data").glob("*/*.parquet")):
            _add_column(file, codes, k)
        _describe(out, codes, k)
        write_text(out / "meta" / "latent_action.json", json.dumps(encoding.about, indent=2) + "\n")


class _Codes:
    """Codes by episode."""

    def __init__(self, files: list[Path], encoding: Encoding) -> None:
        # The reader numbers episodes from 0; a dataset may number its own otherwise.
        numbers = {episode.index: int(episode.name.rpartition(" ")[2]) for episode in encoding.reader.episodes()}
        self.k, self.of_episode = encoding.prefix_length, {}
        for file in files:
            table, _ = read_shard(file)
            episodes, steps = table["episode"].to_numpy(), table["step"].to_numpy()
            codes = codes_of(table)
            for index in np.unique(episodes):
                rows = episodes == index
                self.of_episode[numbers[int(index)]] = (steps[rows], codes[rows])

    def rows(self, episode: int, frames: np.ndarray) -> np.ndarray:
        """Codes (T, k) int64 of some frames of an episode."""
        found = np.full((len(frames), self.k), NONE, np.int64)
        if episode in self.of_episode:
            steps, codes = self.of_episode[episode]
            places = np.minimum(np.searchsorted(steps, frames), len(steps) - 1)
            known = steps[places] == frames
            found[known] = codes[places[known]]
        return found


def _add_column(file: Path, codes: _Codes, k: int) -> None:
    parquet = pq.ParquetFile(file)
    beside = file.with_suffix(".partial")
    writer: pq.ParquetWriter | None = None
    for group in range(parquet.metadata.num_row_groups):
        table = parquet.read_row_group(group)
        episodes, frames = table["episode_index"].to_numpy(), table["frame_index"].to_numpy()
        values = np.empty((len(table), k), np.int64)
        for episode in np.unique(episodes):
            rows = episodes == episode
            values[rows] = codes.rows(int(episode), frames[rows])
        flat = pa.array(values.ravel())
        column = flat if k == 1 else pa.FixedSizeListArray.from_arrays(flat, k)
        table = table.append_column(FEATURE, column)
        table = table.replace_schema_metadata(_metadata(table.schema.metadata, k))
        if writer is None:
            writer = pq.ParquetWriter(beside, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
        beside.replace(file)


def _metadata(metadata: dict[bytes, bytes] | None, k: int) -> dict[bytes, bytes] | None:
    """What the datasets library keeps of the features, with one more."""
    if not metadata or _HUGGING_FACE not in metadata:
        return metadata
    about = json.loads(metadata[_HUGGING_FACE])
    value = {"dtype": "int64", "_type": "Value"}
    features = about.get("info", {}).get("features")
    if features is not None:
        features[FEATURE] = value if k == 1 else {"feature": value, "length": k, "_type": "List"}
    return {**metadata, _HUGGING_FACE: json.dumps(about).encode()}


def _describe(out: Path, codes: _Codes, k: int) -> None:
    info = json.loads((out / "meta" / "info.json").read_text())
    info["features"][FEATURE] = {"dtype": "int64", "shape": [k], "names": [f"slot_{i}" for i in range(k)]}
    write_text(out / "meta" / "info.json", json.dumps(info, indent=2) + "\n")
    whole = layout.RunningStats(k)
    for _, found in codes.of_episode.values():
        whole.update(found.astype(np.float64))
    stats_file = out / "meta" / "stats.json"
    stats: dict[str, Any] = json.loads(stats_file.read_text()) if stats_file.is_file() else {}
    stats[FEATURE] = whole.as_json((-1,))
    write_text(stats_file, json.dumps(stats, indent=2) + "\n")
    for file in sorted((out / "meta" / "episodes").glob("*/*.parquet")):
        _describe_episodes(file, codes, k)


def _describe_episodes(file: Path, codes: _Codes, k: int) -> None:
    """Statistics of each episode, in the columns that the dataset keeps for its other features."""
    table = pq.read_table(file)
    kept = {name.rpartition("/")[2] for name in table.column_names if name.startswith("stats/")}
    if not kept:
        return
    episodes, rows = table["episode_index"].to_numpy(), []
    for episode in episodes:
        stats = layout.RunningStats(k)
        _, found = codes.of_episode.get(int(episode), (None, np.full((1, k), NONE)))
        stats.update(found.astype(np.float64))
        rows.append(stats.as_json((-1,)))
    for name in sorted(kept & set(rows[0])):
        kind = pa.list_(pa.int64() if name == "count" else pa.float64())
        table = table.append_column(f"stats/{FEATURE}/{name}", pa.array([row[name] for row in rows], kind))
    pq.write_table(table, file)

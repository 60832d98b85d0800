"""The few transitions whose actions are known to stage 3: drawn once, saved, and the same ever after."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, DataError, did_you_mean
from flexlam.core.files import write_bytes
from flexlam.core.seeding import numpy_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex

FORMAT_VERSION = 1
METADATA_KEY = b"flexlam"


class LabelBudget(Config):
    """How many action labels there are; exactly one of `count` and `fraction`."""

    count: int | None = Field(default=None, gt=0)
    """Number of labelled transitions."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the training transitions that is labelled."""
    task: str | None = None
    """Draw the labels from this task only (a narrow source)."""

    @model_validator(mode="after")
    def _one_size(self) -> "LabelBudget":
        if (self.count is None) == (self.fraction is None):
            raise ValueError("give exactly one of count and fraction")
        return self


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labelled transitions: rows of a transition index, with their actions and where they come from."""

    rows: np.ndarray
    """(N,) int64, rows of the index that they were drawn from or loaded for."""
    episode: np.ndarray
    """(N,) int32."""
    step: np.ndarray
    """(N,) int32."""
    actions: np.ndarray
    """(N, A) float32."""
    data_hash: str
    seed: int
    draw: int
    budget: LabelBudget

    def __len__(self) -> int:
        return len(self.rows)

    def save(self, path: Path) -> None:
        """Write as parquet: episode, step, action_0 ..., and what they were drawn from as metadata.

        Raises:
            OutputError: the disk is full or the place cannot be written.
        """
        columns = {"episode": self.episode, "step": self.step}
        columns |= {f"action_{i}": column for i, column in enumerate(self.actions.T)}
        about = {
            "format_version": FORMAT_VERSION,
            "data_hash": self.data_hash,
            "seed": self.seed,
            "draw": self.draw,
        }
        about["budget"] = self.budget.model_dump(mode="json")
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(about)}), sink)
        write_bytes(path, sink.getvalue().to_pybytes())

    @classmethod
    def load(cls, path: Path, index: TransitionIndex) -> "LabelSet":
        """Read back, and find the rows in a transition index of the same data.

        Raises:
            DataError: the file is no label set, belongs to other data, or names a transition the index lacks.
        """
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[METADATA_KEY])
            episode, step = table["episode"].to_numpy(), table["step"].to_numpy()
            names = [name for name in table.column_names if name.startswith("action_")]
            actions = np.stack([table[name].to_numpy() for name in names], axis=1)
            budget = LabelBudget.parse(about["budget"])
            version, data_hash, seed, draw = (about[key] for key in ("format_version", "data_hash", "seed", "draw"))
        except (pa.ArrowException, OSError, KeyError, ValueError, ConfigError) as error:
            raise DataError(f"{path} is no usable set of labels ({error}). Draw the labels again.") from error
        if version != FORMAT_VERSION:
            raise DataError(f"{path} has format version {version}; version {FORMAT_VERSION} is supported.")
        if data_hash != index.data_hash:
            raise DataError(
                f"{path} holds labels of the data {data_hash}; the transitions are of {index.data_hash}. "
                "Use the frame store that the labels were drawn from, or draw them again."
            )
        rows = _find(index, episode, step, path)
        return cls(rows, episode, step, actions, data_hash, seed, draw, budget)


def is_label_set(path: Path) -> bool:
    """Whether a file was written by `LabelSet.save`; labels that people write have no such mark."""
    try:
        return path.suffix == ".parquet" and METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def choose_labels(index: TransitionIndex, store: FrameStore, budget: LabelBudget, seed: int, draw: int = 0) -> LabelSet:
    """Draw labels uniformly over the transitions of an index; build the index of the training episodes only.

    With the same seed and draw, a larger budget contains a smaller one.

    Raises:
        DataError: there are fewer transitions than labels asked for, or the store has no actions.
        ConfigError: there is no such task.
    """
    if store.actions is None:
        raise DataError(f"{store.path} has no actions, so there is nothing to label. Record or convert with actions.")
    if store.content_hash != index.data_hash:
        raise DataError(f"{store.path} is not the store that these transitions belong to ({index.data_hash}).")
    candidates = np.arange(len(index))
    if budget.task is not None:
        if budget.task not in index.tasks:
            raise ConfigError(f"There is no task {budget.task!r}. {did_you_mean(budget.task, index.tasks)}")
        candidates = np.flatnonzero(index.task == index.tasks.index(budget.task))
    count = budget.count if budget.count is not None else max(1, round(len(candidates) * (budget.fraction or 0)))
    if count > len(candidates) or not len(candidates):
        of = f" of the task {budget.task!r}" if budget.task else ""
        raise DataError(
            f"{count} labels were asked for, but there are only {len(candidates)} training transitions{of}. "
            "Ask for fewer labels or record more episodes."
        )
    rows = numpy_generator(seed, "labels", draw).permutation(candidates)[:count]
    actions = store.actions[index.first[rows]]
    return LabelSet(rows, index.episode[rows], index.step[rows], actions, index.data_hash, seed, draw, budget)


def _find(index: TransitionIndex, episode: np.ndarray, step: np.ndarray, path: Path) -> np.ndarray:
    keys, wanted = ((e.astype(np.int64) << 32) | s for e, s in ((index.episode, index.step), (episode, step)))
    order = np.argsort(keys, kind="stable")
    places = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    rows: np.ndarray = order[places]
    missing = keys[rows] != wanted
    if missing.any():
        at = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"{path} labels episode {episode[at]}, step {step[at]}, which is not among the transitions. "
            "Use the gap and the episodes that the labels were drawn with."
        )
    return rows

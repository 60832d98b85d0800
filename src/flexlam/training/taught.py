"""The labels that a translator has seen, read back from its run, for whoever goes on teaching it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core.action import ActionSpec
from flexlam.core.errors import DataError
from flexlam.core.files import write_bytes
from flexlam.data.label_file import SUFFIXES, read_labels
from flexlam.data.labels import LabelSet, is_label_set
from flexlam.data.location import Location, read_bytes
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.training.labelled import require_actions
from flexlam.training.pairs import PairConfig, SplitPairs


@dataclass(frozen=True, eq=False)
class TaughtLabels:
    """Labelled transitions (N,), wherever their actions come from."""

    index: TransitionIndex
    rows: np.ndarray
    """(N,) int64, of the index."""
    action: Float[Tensor, "N A"]
    prev_action: Float[Tensor, "N A"]
    """NaN where none is known."""
    spec: ActionSpec
    keep: Callable[[Path], None] = lambda folder: None
    """Writes them into the folder of a run."""

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def recorded(cls, rows: np.ndarray, index: TransitionIndex, store: FrameStore) -> "TaughtLabels":
        """The recorded actions of some transitions.

        Raises:
            DataError: the store holds no actions.
        """
        spec = require_actions(store)
        assert store.actions is not None  # require_actions has seen to it
        previous = index.previous[rows]
        before = store.actions[previous]
        before[previous < 0] = np.nan
        return cls(index, rows, torch.from_numpy(store.actions[index.first[rows]]), torch.from_numpy(before), spec)

    @classmethod
    def drawn(cls, labels: LabelSet, pairs: SplitPairs) -> "TaughtLabels":
        """Labels that were drawn from training transitions.

        Raises:
            DataError: the store holds no actions.
        """
        recorded = cls.recorded(labels.rows, pairs.train, pairs.store)
        return replace(recorded, keep=lambda folder: labels.save(folder / "labels.parquet"))


def whole_index(store: FrameStore, pairs: PairConfig) -> TransitionIndex:
    """The transitions of all episodes, held-out ones too: people label where they please."""
    return TransitionIndex.build(store, 1 if pairs.gap_seconds else pairs.gap_steps, pairs.gap_seconds)


def keep_label_file(label_file: Location, folder: Path) -> None:
    """Copy a file of labels into the folder of a run."""
    write_bytes(folder / f"labels{label_file.suffix.lower()}", read_bytes(label_file))


def labels_of(translator: Path, pairs: SplitPairs, config: PairConfig) -> TaughtLabels:
    """The labels of a translator's run, found in the store that they belong to.

    Raises:
        DataError: no labels lie beside the translator, or they belong to other data.
    """
    run = translator if (translator / "run.json").exists() else translator.parent
    found = next((path for path in (run / f"labels{suffix}" for suffix in SUFFIXES) if path.is_file()), None)
    if found is None:
        raise DataError(
            f"No labels lie beside the translator {translator} (labels.parquet of its run). Give the run folder of "
            "flexlam train translator, or say which labels to take: --labels.count or --labels.fraction."
        )
    if is_label_set(found):
        return TaughtLabels.drawn(LabelSet.load(found, pairs.train), pairs)
    index = whole_index(pairs.store, config)
    labels = read_labels(found, pairs.store, index)
    action = torch.from_numpy(labels.actions)
    nothing = torch.full_like(action, float("nan"))
    return TaughtLabels(index, labels.rows, action, nothing, labels.spec, lambda folder: keep_label_file(found, folder))

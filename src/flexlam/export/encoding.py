"""Codes for every transition of a dataset, in shards of episodes: the part that every engine shares."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.files import explain_write_errors
from flexlam.core.hub import model_folder
from flexlam.core.machine import Device, choose_device
from flexlam.data.episodes import EpisodeInfo, Reader
from flexlam.data.location import fingerprint, located
from flexlam.data.mixture import is_store, open_frames
from flexlam.data.parts import FrameFit, resize
from flexlam.data.readers import open_dataset
from flexlam.data.source import SourceConfig
from flexlam.data.store_reader import StoreReader
from flexlam.data.transitions import pairs_of
from flexlam.training.runs import open_lam
from flexlam.translator.model import load_code_translator, read_hash
from flexlam.translator.serving import Translator

FORMAT_VERSION = 1
METADATA_KEY = b"flexlam"
ENCODING = "_encoding.json"  # tools that read a folder of parquet files pass over names with an underscore
_PAIRS_AT_ONCE = 128
_SAME_RATE = 0.02


class EncodeConfig(Config):
    """What is encoded, and how."""

    run: str
    """A stage-1 run, a joint run, or a released model."""
    data: str
    """A dataset (path or URL), or a frame store."""
    source: SourceConfig = SourceConfig()
    """How the dataset is to be read."""
    prefix_length: int | None = Field(default=None, ge=1)
    """k, the number of slots to keep; None keeps all K."""
    translator: str | None = None
    """A translator of the run's codes, fitted without the previous action; its actions stand beside the codes."""
    fit: FrameFit | None = None
    """How frames of another shape are brought to the model's; None: as its training data were."""
    episodes_per_shard: int = Field(default=32, ge=1)
    """Episodes in one file of codes: what an interruption can cost."""
    device: Device = "auto"
    """Where to compute."""


@dataclass(frozen=True)
class EpisodeCodes:
    """Codes of the transitions of an episode."""

    episode: EpisodeInfo
    first: np.ndarray
    """(P,) int32, steps of o_t."""
    second: np.ndarray
    """(P,) int32, steps of the later frames."""
    codes: np.ndarray
    """(P, k) integers."""
    times: np.ndarray
    """(T,) float64, seconds of all frames."""
    actions: np.ndarray | None = None
    """(P, A) float32, what a translator makes of the codes."""

    @property
    def num_unpaired(self) -> int:
        """Frames before the last transition that begin none, because no frame comes near enough a gap later."""
        return int(self.first[-1]) + 1 - len(self.first) if len(self.first) else 0


class Encoding:
    """A model over a dataset. Opened where it is needed; travels to other processes as its settings alone.

    Raises:
        CheckpointError, DataError: the run or the data cannot be opened.
        ConfigError: the model has no such prefix.
    """

    def __init__(self, config: EncodeConfig) -> None:
        self.config = config

    def __reduce__(self) -> tuple[Any, ...]:
        return Encoding, (self.config,)

    @cached_property
    def reader(self) -> Reader:
        """Of the dataset or the frame store."""
        place = located(self.config.data)
        if is_store(place):
            if self.config.source != SourceConfig():
                raise ConfigError(
                    f"{place} is a frame store, which is read in one way; leave out --camera and the like."
                )
            return StoreReader(place)
        return open_dataset(place, self.config.source)

    @cached_property
    def _opened(self) -> tuple[Any, Any]:
        return open_lam(model_folder(self.config.run), choose_device(self.config.device))

    def open(self) -> None:
        """Open the model and the data now, and not when they are first needed."""
        _ = self.reader, self._opened, self.translator

    @cached_property
    def translator(self) -> Translator | None:
        """Codes to actions, where one is given."""
        if self.config.translator is None:
            return None
        return load_code_translator(model_folder(self.config.translator), self._opened[1].hash)

    @property
    def fit(self) -> FrameFit:
        """How frames of another shape are brought to the model's."""
        return self.config.fit or self._opened[0].frames.fit

    @property
    def gap(self) -> tuple[int, float | None]:
        """Steps between the two frames, or seconds where these are set.

        A gap in steps was one in seconds at the frame rate that the model was trained at: data at another rate get the
        same time between their frames.
        """
        run, reader = self._opened[0], self.reader
        trained = run.frames.fps
        rates = reader.store.rates if isinstance(reader, StoreReader) else (reader.info.fps,)
        if run.pairs.gap_seconds is not None or trained is None:
            return run.pairs.gap_steps, run.pairs.gap_seconds
        if all(abs(rate / trained - 1) < _SAME_RATE for rate in rates):
            return run.pairs.gap_steps, None
        return 1, run.pairs.gap_steps / trained

    @property
    def prefix_length(self) -> int:
        """k."""
        _, model = self._opened
        k = self.config.prefix_length or model.num_slots
        if k > model.num_slots:
            raise ConfigError(
                f"prefix_length is {k}; this model has {model.num_slots} slots, so give at most that many."
            )
        return int(k)

    @cached_property
    def about(self) -> dict[str, Any]:
        """What every file of codes says of where it comes from."""
        _, model = self._opened
        place = located(self.config.data)
        return {
            "format_version": FORMAT_VERSION,
            "model_hash": model.hash,
            "data_hash": open_frames(place).content_hash if is_store(place) else fingerprint(place),
            "data": place.name,
            "source": self.config.source.model_dump(mode="json"),
            "fit": self.fit,
            "prefix_length": self.prefix_length,
            "num_slots": model.num_slots,
            "codebook_size": model.quantizer.codebook_size,
            **dict(zip(("gap_steps", "gap_seconds"), self.gap, strict=True)),
            **self._about_translator(),
        }

    def _about_translator(self) -> dict[str, Any]:
        if self.translator is None or self.config.translator is None:
            return {}
        spec = self.translator.codec.spec.model_dump(mode="json")
        return {"action_spec": spec, "translator_hash": read_hash(model_folder(self.config.translator))}

    def latents(self, indices: torch.Tensor) -> torch.Tensor:
        """Latents (..., k, D) of codes (..., k)."""
        _, model = self._opened
        found: torch.Tensor = model.quantizer.indices_to_latents(indices.to(model.device)).cpu()
        return found

    @cached_property
    def shards(self) -> list[list[EpisodeInfo]]:
        """The episodes, some to a shard."""
        episodes, size = self.reader.episodes(), self.config.episodes_per_shard
        return [episodes[start : start + size] for start in range(0, len(episodes), size)]

    def encode(self, episode: EpisodeInfo, tell: Callable[[int], object]) -> EpisodeCodes:
        """Codes of an episode; `tell` is called with numbers of transitions.

        Raises:
            DataError: it cannot be decoded, or its frames do not fit the model.
        """
        _, model = self._opened
        times = self.reader.columns(episode).times
        first, second = pairs_of(times, *self.gap)
        if not len(first) and len(times) > 1:
            wanted = (
                "" if self.gap[1] is None else f", {self.gap[1]:.3g} s apart as those that the model was trained on"
            )
            raise DataError(
                f"{episode.name} has no two frames{wanted}; its frames are {float(np.median(np.diff(times))):.3g} s "
                "apart. Give the frame rate of data without a clock (--fps)."
            )
        k = self.prefix_length
        dtype = np.promote_types(np.int16, np.min_scalar_type(-model.quantizer.codebook_size))
        codes = np.zeros((len(first), k), dtype)
        num_dims = 0 if self.translator is None else self.translator.codec.spec.num_dims
        actions = np.zeros((len(first), num_dims), np.float32)
        for start, obs, next_obs in self._pairs(episode, first, second, model.frame_shape, tell):
            found, rows = model.encode(obs, next_obs), slice(start, start + len(obs))
            codes[rows] = found.indices[:, :k].cpu().numpy()
            if self.translator is not None:
                actions[rows] = _translate(self.translator, found.latents.cpu(), k)
        both = first.astype(np.int32), second.astype(np.int32)
        return EpisodeCodes(episode, *both, codes, times, actions if num_dims else None)

    def _pairs(
        self,
        episode: EpisodeInfo,
        first: np.ndarray,
        second: np.ndarray,
        shape: tuple[int, int, int],
        tell: Callable[[int], object],
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(number of the first pair, frames, later frames), some pairs at a time; what is behind is forgotten."""
        held: dict[int, np.ndarray] = {}
        start, count = 0, 0
        for frame in self.reader.frames(episode):
            held[count] = _fit(frame, shape, self.fit, episode)
            count += 1
            stop = min(start + _PAIRS_AT_ONCE, len(first))
            if start < stop and second[stop - 1] < count:
                rows = range(start, stop)
                yield start, np.stack([held[first[row]] for row in rows]), np.stack([held[second[row]] for row in rows])
                tell(stop - start)
                start = stop
                oldest = first[start] if start < len(first) else count
                held = {step: kept for step, kept in held.items() if step >= oldest}
        if start < len(first):
            raise DataError(f"{episode.name} ends after {count} frames; its columns say more. Replace it.")


def encode_shard(
    encoding: Encoding, number: int, folder: Path, skip: Mapping[int, str], tell: Callable[[Any], object]
) -> int:
    """Write the codes of a shard to a file of `folder` in one step; returns the number of rows.

    Episodes in `skip` (index to reason) are left out, as are those that cannot be decoded. `tell` gets the shard and
    the index of an episode when it begins ("begin", number, index), and numbers of transitions ("done", count).

    Raises:
        OutputError: the disk is full.
    """
    found: list[EpisodeCodes] = []
    skipped = {}
    for episode in encoding.shards[number]:
        tell(("begin", number, episode.index))
        try:
            if episode.index in skip:
                raise DataError(skip[episode.index])
            found.append(encoding.encode(episode, lambda count: tell(("done", count))))
        except DataError as error:
            skipped[episode.index] = {"name": episode.name, "reason": str(error)}
    spec = None if encoding.translator is None else encoding.translator.codec.spec
    table = _table(found, encoding.prefix_length, spec.names if spec is not None and len(spec.num_choices) == 1 else ())
    unpaired = {part.episode.name: part.num_unpaired for part in found if part.num_unpaired}
    about = json.dumps({**encoding.about, "shard": number, "skipped": skipped, "unpaired": unpaired})
    path = shard_file(folder, number)
    with explain_write_errors(path):
        beside = path.with_suffix(".partial")
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: about}), beside)
        beside.replace(path)
    return len(table)


def shard_file(folder: Path, number: int) -> Path:
    """Where the codes of a shard lie."""
    return folder / f"codes-{number:06d}.parquet"


def read_shard(file: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Rows of a file of codes, and where they come from.

    Raises:
        DataError: it is no such file, or is damaged.
    """
    try:
        table = pq.read_table(file)
        return table, json.loads((table.schema.metadata or {})[METADATA_KEY])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{file} holds no codes ({error}). Encode again.") from error


def codes_of(table: pa.Table) -> np.ndarray:
    """Codes (P, k) of the rows of a shard."""
    column = table["codes"]
    found: np.ndarray = column.combine_chunks().flatten().to_numpy().reshape(-1, column.type.list_size)
    return found


def _table(found: Sequence[EpisodeCodes], k: int, names_of_choices: Sequence[str]) -> pa.Table:
    lengths = [len(part.first) for part in found]
    codes = np.concatenate([part.codes for part in found]) if found else np.zeros((0, k), np.int16)
    flat = pa.array(np.ascontiguousarray(codes).ravel())
    names = np.repeat(np.array([part.episode.name for part in found], object), lengths)
    actions = [part.actions for part in found if part.actions is not None]
    columns = {f"action_{i}": pa.array(column) for i, column in enumerate(np.concatenate(actions).T)} if actions else {}
    if actions and names_of_choices:
        choices = np.concatenate(actions)[:, 0].astype(int)
        columns["action"] = pa.array([names_of_choices[choice] for choice in choices])
    return pa.table(
        {
            "episode": pa.array(np.repeat(np.array([part.episode.index for part in found], np.int32), lengths)),
            "episode_name": pa.array(names.tolist(), pa.string()),
            "step": pa.array(_join([part.first for part in found])),
            "next_step": pa.array(_join([part.second for part in found])),
            "time": pa.array(_join([part.times[part.first] for part in found])),
            "next_time": pa.array(_join([part.times[part.second] for part in found])),
            "codes": pa.FixedSizeListArray.from_arrays(flat, k),
            **columns,
        }
    )


@torch.inference_mode()
def _translate(translator: Translator, latents: torch.Tensor, k: int) -> np.ndarray:
    """The most likely actions (P, A) of latents (P, K, D)."""
    none = torch.full((len(latents), translator.codec.spec.num_dims), float("nan"))
    actions: np.ndarray = translator.codec.predict(translator(latents, none, k, torch.zeros(len(latents), 0))).numpy()
    return actions


def _join(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _fit(frame: np.ndarray, shape: tuple[int, int, int], fit: FrameFit, episode: EpisodeInfo) -> np.ndarray:
    if frame.ndim != 3 or frame.shape[2] != shape[2]:
        raise DataError(f"{episode.name} has frames {frame.shape}; the model was trained on (H, W, {shape[2]}).")
    return frame if frame.shape == shape else resize(frame, shape[:2], fit)

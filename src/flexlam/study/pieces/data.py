"""Data of a study: a recording, or the user's own dataset, as a frame store."""

import shutil
from functools import partial
from pathlib import Path

from flexlam.acting.recording import RecordingConfig, record
from flexlam.core.errors import ConfigError
from flexlam.data.location import fingerprint
from flexlam.data.parts import StoreConfig
from flexlam.data.readers import open_dataset
from flexlam.data.store_builder import build_store
from flexlam.study.config import StudyConfig
from flexlam.study.graph import Step
from flexlam.study.pieces.suites import outline


def data_step(config: StudyConfig, recording: RecordingConfig | None = None) -> Step:
    """Record (or read the user's dataset, whatever the recording), and build the frame store.

    A dataset is known by the names and sizes of its files; hidden ones do not count.

    Raises:
        ConfigError: there is no expert to record, no such suite, or a package is missing.
        SuiteError: the suite cannot be used.
        DataError: there is no such dataset.
    """
    store, recording = {"store": config.store.model_dump(mode="json")}, recording or config.recording
    if config.dataset is not None:
        open_dataset(config.dataset)
        settings = {"dataset": fingerprint(config.dataset), **store}
        return Step("data", partial(_build, config.dataset), settings)
    if recording.behaviour != "random" and not outline(recording.suite).has_expert:
        raise ConfigError(
            f"The suite {recording.suite} has no expert to record. Give experts' episodes: --dataset FOLDER."
        )
    return Step("data", _record, {"recording": recording.model_dump(mode="json"), **store})


def frame_shape(config: StudyConfig) -> tuple[int, int, int]:
    """(H, W, C) of the stored frames.

    Raises:
        DataError: the user's dataset cannot be read.
    """
    if config.dataset is not None:
        height, width, channels = open_dataset(config.dataset).info.frame_shape
    else:
        height, width, channels = outline(config.recording.suite).frame_shape
    return (*(config.store.frame_size or (height, width)), channels)


def _record(step: Step, folder: Path, parents: list[Path]) -> None:
    recording = folder / "recording"
    record(RecordingConfig.parse(step.settings["recording"]), recording, overwrite=True)
    _build(recording, step, folder, parents)
    shutil.rmtree(recording)


def _build(dataset: Path, step: Step, folder: Path, parents: list[Path]) -> None:
    store = folder / "store"
    if store.exists():
        shutil.rmtree(store)
    build_store(open_dataset(dataset), store, StoreConfig.parse(step.settings["store"]), announce=lambda _: None)

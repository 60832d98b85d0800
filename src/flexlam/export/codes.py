"""`flexlam encode`: codes of a dataset, for other tools, resumable by shard."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexlam.core import catalog
from flexlam.core.errors import DataError, OutputError
from flexlam.core.files import (
    check_output_folder,
    content_hash,
    explain_write_errors,
    replace_folder,
    try_lock,
    write_text,
)
from flexlam.data.guarded import Limits
from flexlam.export.encoding import EncodeConfig, Encoding, read_shard, shard_file
from flexlam.export.engines import Engine, encode_locally, encode_with_ray

_PLAN, _SHARDS = "plan.json", "codes"


@dataclass(frozen=True)
class EncodeReport:
    """What came out."""

    num_rows: int
    num_episodes: int
    skipped: dict[str, str]
    """Reasons by the names of episodes."""
    unpaired: dict[str, int]
    """Frames that begin no transition though the episode goes on, by the names of episodes with uneven times."""
    about: dict[str, Any]


def encode_dataset(
    config: EncodeConfig,
    out: Path,
    format: str = "parquet",
    engine: Engine = "local",
    limits: Limits | None = None,
    num_workers: int = 1,
    progress: Callable[[int], object] = lambda count: None,
    announce: Callable[[str], object] = print,
    overwrite: bool = False,
) -> EncodeReport:
    """Write the codes of every transition to a folder, in a format of the catalogue ("code-format").

    Shards that an interrupted run has finished lie in a hidden folder beside `out`; the same call goes on from there.
    The codes are the same whatever the engine, the number of workers and of interruptions.

    Raises:
        CheckpointError, DataError: the run or the data cannot be opened, or no episode can be used.
        ConfigError: no such prefix or format, or the format does not fit the data.
        OutputError: the folder exists (without `overwrite`) or cannot be written, or the disk is full.
    """
    check_output_folder(out, overwrite)
    encoding = Encoding(config)
    form = catalog.lookup("code-format", format)
    form.check(encoding)
    out = out.resolve()
    folder = out.with_name(f".{out.name}.encoding")
    with explain_write_errors(out):
        (folder / _SHARDS).mkdir(parents=True, exist_ok=True)
    with explain_write_errors(out), try_lock(folder / "lock", patience=2.0) as mine:
        if not mine:
            raise OutputError(f"Another process is writing {out}. Wait for it, or choose another --out folder.")
        shards = encoding.shards
        begun_anew = _begin(
            folder, content_hash(repr((sorted(encoding.about.items()), config.episodes_per_shard)).encode())
        )
        if begun_anew:
            announce("An interrupted run with other settings had begun; its codes are of no use here and are dropped.")
        waiting = [number for number in range(len(shards)) if not shard_file(folder / _SHARDS, number).exists()]
        if len(waiting) < len(shards):
            announce(f"Going on after {len(shards) - len(waiting)} of {len(shards)} shards.")
        if waiting and engine == "ray":
            encode_with_ray(encoding, folder / _SHARDS, waiting, num_workers, progress)
        elif waiting:
            encode_locally(encoding, folder / _SHARDS, waiting, limits or Limits(), num_workers, progress)
        files = [shard_file(folder / _SHARDS, number) for number in range(len(shards))]
        report = _report(files, encoding)
        result = folder / "result"
        if result.exists():
            shutil.rmtree(result)
        result.mkdir()
        form.write(encoding, files, result)
        replace_folder(result, out)
        shutil.rmtree(folder)
    return report


def _begin(folder: Path, plan: str) -> bool:
    """Forget what was done with another model, other data or other settings; returns whether there was any."""
    file = folder / _PLAN
    if file.is_file() and file.read_text() == plan:
        return False
    begun_anew = any((folder / _SHARDS).iterdir())
    shutil.rmtree(folder / _SHARDS)
    (folder / _SHARDS).mkdir()
    write_text(file, plan)
    return begun_anew


def _report(files: list[Path], encoding: Encoding) -> EncodeReport:
    rows = 0
    skipped: dict[str, str] = {}
    unpaired: dict[str, int] = {}
    for file in files:
        table, about = read_shard(file)
        rows += len(table)
        skipped |= {found["name"]: found["reason"] for found in about["skipped"].values()}
        unpaired |= about.get("unpaired", {})  # shards of before it was counted have none
    if not rows:
        first = next(iter(skipped.values()), "no episode is long enough for the model's gap")
        raise DataError(f"Nothing of {encoding.config.data} can be encoded. The first reason: {first}")
    return EncodeReport(rows, len(encoding.reader.episodes()) - len(skipped), skipped, unpaired, encoding.about)

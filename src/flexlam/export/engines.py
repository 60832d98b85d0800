"""Who encodes the shards: child processes of this machine, or Ray's actors on any number of machines."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from flexlam.core.errors import ConfigError
from flexlam.core.machine import choose_device
from flexlam.data.guarded import Limits, guarded
from flexlam.data.location import is_local, located
from flexlam.export.encoding import Encoding, encode_shard

Engine = Literal["local", "ray"]
_TRIES = 20
"""Times that a shard is begun anew after crashes, each of another episode."""


def encode_locally(
    encoding: Encoding,
    folder: Path,
    waiting: list[int],
    limits: Limits,
    num_workers: int,
    progress: Callable[[int], object],
) -> None:
    """Encode shards in guarded child processes of one thread each.

    An episode that crashes its process, hangs it or asks for too much memory is left out with its reason; the shard is
    begun anew without it.

    Raises:
        DataError: a shard fails again and again.
    """
    skip: dict[int, str] = {}
    current: dict[int, int] = {}

    def on_told(told: tuple[Any, ...]) -> None:
        if told[0] == "begin":
            current[told[1]] = told[2]
        else:
            progress(told[1])

    def work(number: int, tell: Callable[[Any], object]) -> int:
        torch.set_num_threads(1)
        return encode_shard(encoding, number, folder, skip, tell)

    encoding.open()  # once, before the children are made
    # A child cannot use a GPU that its parent has used, and connections do not survive a fork.
    isolated = is_local(located(encoding.config.data)) and choose_device(encoding.config.device).type == "cpu"
    for _ in range(_TRIES):
        failed = []
        for outcome in guarded(work, waiting, limits, num_workers, on_told, isolated):
            if outcome.error is not None:
                number = waiting[outcome.number]
                if current.get(number) is None:
                    raise outcome.error
                skip[current.pop(number)] = str(outcome.error)
                failed.append(number)
        if not failed:
            return
        waiting = failed
    raise outcome.error  # type: ignore[misc]


def encode_with_ray(
    encoding: Encoding, folder: Path, waiting: list[int], num_workers: int, progress: Callable[[int], object]
) -> None:
    """Encode shards with Ray Data and a pool of actors, on this machine or on the cluster that Ray is connected to.

    `folder` and the data must be reachable from every machine under the same name. A shard is written in one step, so a
    lost worker, whose shards others do anew, loses no row and doubles none.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise ConfigError('--engine ray needs Ray. Install it with: pip install "flexlam[ray]"') from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    shards = ray.data.from_items([{"shard": number} for number in waiting], override_num_blocks=len(waiting))
    done = shards.map_batches(
        _EncodingActor,
        fn_constructor_args=(encoding.config, str(folder.resolve())),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(waiting))),
        num_gpus=1 if torch.cuda.is_available() else 0,
    )
    for row in done.iter_rows():
        progress(int(row["rows"]))


class _EncodingActor:
    """One worker of the pool: the model is opened once."""

    def __init__(self, config: Any, folder: str) -> None:
        self._encoding, self._folder = Encoding(config), Path(folder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        torch.set_num_threads(1)
        rows = [encode_shard(self._encoding, int(n), self._folder, {}, lambda told: None) for n in batch["shard"]]
        return {"shard": batch["shard"], "rows": rows}

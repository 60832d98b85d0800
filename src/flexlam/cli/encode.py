"""flexlam encode RUN --data DATA --out OUT."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from flexlam.cli.options import Decoding, Output, Reading
from flexlam.cli.parse import parse_options
from flexlam.core.machine import Device


@dataclass(frozen=True, kw_only=True)
class Encode(Decoding, Output, Reading):
    """Codes for every transition of a dataset: as parquet, as a feature of a LeRobot dataset, or for LARYBench.

    An interrupted run goes on where it stopped when the same command is given again. What cannot be decoded is left out
    and listed.
    """

    run: tyro.conf.Positional[str]
    """A run of stage 1 (or of joint alignment), or a released model; hf://OWNER/NAME is one of the Hub."""
    data: str
    """A dataset: a path, or a URL that fsspec opens; or a frame store."""
    format: Literal["parquet", "lerobot", "lary"] = "parquet"
    """parquet: a row a transition; lerobot: a copy of the dataset with a feature latent_action; lary: npz files."""
    prefix_length: int | None = None
    """k, the number of slots to keep; all by default."""
    translator: str | None = None
    """A translator of the run's codes (flexlam train translator), or a shared model that holds one; its actions stand
    beside the codes."""
    fit: Literal["stretch", "crop", "pad"] | None = None
    """How frames of another shape are brought to the model's; by default as its training data were."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine; ray: actors on the machines that Ray is connected to."""
    episodes_per_shard: int = 32
    """Episodes in one file of codes: what an interruption can cost."""
    device: Device = "auto"
    """Where to compute."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Encode and tell what was left out."""
    options = parse_options(Encode, prog, arguments)
    from flexlam.core.progress import progress
    from flexlam.export.codes import encode_dataset
    from flexlam.export.encoding import EncodeConfig

    names = ("run", "data", "prefix_length", "translator", "fit", "episodes_per_shard", "device")
    values = {name: getattr(options, name) for name in names} | {"source": options.config()}
    config = EncodeConfig.parse(values, "the command line")
    with progress(0, "Encoded", "transition") as bar:
        report = encode_dataset(
            config,
            options.out,
            options.format,
            options.engine,
            options.limits(),
            options.workers(),
            bar.update,
            overwrite=options.overwrite,
        )
    k, slots = report.about["prefix_length"], report.about["num_slots"]
    print(
        f"{report.num_rows:,} transitions of {report.num_episodes} episodes, {k} of {slots} codes each: {options.out}"
    )
    for name, count in report.unpaired.items():
        print(
            f"{name}: {count:,} frames begin no transition, because none comes near enough a gap later (uneven times)."
        )
    for name, reason in report.skipped.items():
        print(f"Left out: {name}: {reason}")

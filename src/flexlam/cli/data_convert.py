"""flexlam data convert PATH --out STORE."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flexlam.cli.options import Output, Source
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class DataConvert(Output, Source):
    """Build the frame store of a dataset: every frame once, decoded, at the training size."""

    frame_size: tuple[int, int] = (64, 64)
    """Height and width of the stored frames."""
    codec: Literal["raw", "webp", "jpeg"] = "raw"
    """raw: fastest; webp: lossless, about half the bytes; jpeg: lossy, about a seventh."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Convert and tell what was left out."""
    options = parse_options(DataConvert, prog, arguments)
    from flexlam.core.progress import progress
    from flexlam.data.readers import open_dataset
    from flexlam.data.store_builder import StoreConfig, build_store

    reader = open_dataset(options.path, options.config())
    config = StoreConfig.parse({"frame_size": options.frame_size, "codec": options.codec}, "the command line")
    with progress(reader.info.num_frames or 0, "Frames", "frame") as bar:
        report = build_store(reader, options.out, config, bar.update, overwrite=options.overwrite)
    print(f"{report.num_episodes} episodes, {report.num_frames:,} frames. Content hash {report.content_hash}.")
    for skipped in report.skipped:
        print(f"Left out: {skipped.name}: {skipped.reason}")

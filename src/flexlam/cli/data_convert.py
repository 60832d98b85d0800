"""flexlam data convert PATH --out STORE."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flexlam.cli.options import Decoding, Output, Source
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class DataConvert(Decoding, Output, Source):
    """Build the frame store of a dataset: every frame once, decoded, at the training size.

    An interrupted conversion goes on where it stopped when the same command is given again. What cannot be decoded is
    left out and listed.
    """

    frame_size: tuple[int, int] = (64, 64)
    """Height and width of the stored frames."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """How frames of another shape are brought to that size: stretched, cropped to its aspect ratio, or padded."""
    frame_gap: float | None = None
    """Seconds between kept frames, .625 for the paper's 1.6 frames a second; all frames by default. A kept frame keeps
    its own action."""
    codec: Literal["raw", "webp", "jpeg"] = "raw"
    """raw: fastest; webp: lossless, about half the bytes; jpeg: lossy, about a seventh."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Convert and tell what was left out."""
    options = parse_options(DataConvert, prog, arguments)
    from flexlam.core.progress import progress
    from flexlam.data.parts import StoreConfig
    from flexlam.data.readers import open_dataset
    from flexlam.data.store_builder import convert

    names = ("frame_size", "fit", "frame_gap", "codec")
    config = StoreConfig.parse({name: getattr(options, name) for name in names}, "the command line")
    reader, limits = open_dataset(options.path, options.config()), options.limits()
    with progress(reader.info.num_frames or 0, "Frames", "frame") as bar:
        report = convert(
            reader, options.out, config, limits, options.workers(), bar.update, print, overwrite=options.overwrite
        )
    print(f"{report.num_episodes} episodes, {report.num_frames:,} frames. Content hash {report.content_hash}.")
    for skipped in report.skipped:
        print(f"Left out: {skipped.name}: {skipped.reason}")
    for name, reason in report.lost_extras.items():
        print(f"Left out: the extra {name!r}: {reason}")
    if report.skipped:
        print(f"{len(report.skipped)} of {len(report.skipped) + report.num_episodes} episodes were left out.")

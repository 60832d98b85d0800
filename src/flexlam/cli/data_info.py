"""flexlam data info PATH."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from flexlam.cli.parse import parse_options


@dataclass(frozen=True)
class DataInfo:
    """What a dataset or a frame store holds, without decoding a frame."""

    path: tyro.conf.Positional[Path]
    """A dataset or a frame store."""
    json: bool = False
    """As JSON."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Describe and print."""
    options = parse_options(DataInfo, prog, arguments)
    from flexlam.data.inspect import as_lines, describe

    about = describe(options.path)
    print(json.dumps(about, indent=2) if options.json else as_lines(about))

"""flexlam data info PATH."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from flexlam.cli.options import Source
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class DataInfo(Source):
    """What a dataset or a frame store holds, without decoding more than a frame."""

    json: bool = False
    """As JSON."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Describe and print."""
    options = parse_options(DataInfo, prog, arguments)
    from flexlam.data.inspect import as_lines, describe

    about = describe(options.path, options.config())
    print(json.dumps(about, indent=2) if options.json else as_lines(about))

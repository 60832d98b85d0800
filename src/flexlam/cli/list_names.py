"""flexlam list."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from flexlam.cli.parse import parse_options
from flexlam.core import catalog


@dataclass(frozen=True)
class ListNames:
    """Every name in the catalogue, or those of one kind."""

    kind: tyro.conf.Positional[str] = ""
    """One of the kinds that `flexlam list` shows at the left; empty for all."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Print names."""
    options = parse_options(ListNames, prog, arguments)
    for kind in [options.kind] if options.kind else catalog.CATALOG:
        print(f"{kind:12} {' '.join(catalog.names(kind))}")

"""flexlam data mix STORE STORE ... --out MIXTURE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from flexlam.cli.options import Output
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class DataMix(Output):
    """Name several frame stores as one. The mixture can stand wherever a store can; nothing is copied.

    Stages 1 and 4 draw the transitions of a batch from the stores in the ratios of their weights.
    """

    stores: tyro.conf.Positional[tuple[Path, ...]]
    """Frame stores of one frame size."""
    weights: tuple[float, ...] | None = None
    """One for each store; by default their numbers of frames, so that every frame counts alike."""
    names: tuple[str, ...] | None = None
    """What the stores are called, before the names of their tasks and episodes; by default as their folders."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Write the mixture and describe it."""
    options = parse_options(DataMix, prog, arguments)
    from flexlam.data.inspect import as_lines, describe
    from flexlam.data.mixture import mix

    mix(options.stores, options.out, options.weights, options.names, options.overwrite)
    print(as_lines(describe(options.out)))

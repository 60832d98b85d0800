"""flexlam data check PATH."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexlam.cli.options import Decoding, Source
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class DataCheck(Decoding, Source):
    """Read a dataset or a frame store whole and list what would trouble training; exit code 1 if it is unusable."""

    json: bool = False
    """As JSON."""
    strict: bool = False
    """Warnings count as errors."""
    quiet: bool = False
    """No progress bars."""


def run(prog: str, arguments: Sequence[str]) -> int:
    """Check and print."""
    options = parse_options(DataCheck, prog, arguments)
    from flexlam.core.progress import progress
    from flexlam.data.inspect import check

    source, limits = options.config(), options.limits()
    with progress(0, "Frames", "frame") as bar:
        report = check(options.path, options.strict, source, limits, options.workers(), bar.update)
    print(report.to_json() if options.json else report.table())
    return 0 if report.ok else 1

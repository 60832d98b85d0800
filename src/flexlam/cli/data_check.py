"""flexlam data check PATH."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexlam.cli.options import Source
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class DataCheck(Source):
    """Read a dataset or a frame store whole and list what would trouble training; exit code 1 if it is unusable."""

    json: bool = False
    """As JSON."""
    strict: bool = False
    """Warnings count as errors."""


def run(prog: str, arguments: Sequence[str]) -> int:
    """Check and print."""
    options = parse_options(DataCheck, prog, arguments)
    from flexlam.data.inspect import check

    report = check(options.path, options.strict, options.config())
    print(report.to_json() if options.json else report.table())
    return 0 if report.ok else 1

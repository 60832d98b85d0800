"""flexlam plan PRESET --data STORE."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class PlanRun:
    """What stage 1 would cost with these settings: time, memory and disk, from a few steps that leave no trace."""

    data: Path
    """Frame store."""
    twin: Path | None = None
    """Frame store of the same games before other backgrounds, for objectives that compare the two."""
    json: bool = False
    """As JSON."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Measure and print."""
    options, settings = parse_with_preset(PlanRun, "lam", prog, arguments)
    from flexlam.study.plan import plan_lam

    plan = plan_lam(settings, options.data, options.twin)
    print(json.dumps(asdict(plan), indent=2) if options.json else plan.table().to_text())

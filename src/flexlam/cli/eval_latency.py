"""flexlam eval latency PRESET --lam RUN --policy RUN --translator RUN --data STORE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.measure import ActingMeasurement, open_measured, write_results
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class EvalLatency(ActingMeasurement):
    """Time the decisions of an agent, part by part, on a recorded episode, at every prefix length (FlexLAM B.6)."""

    translator: Path
    """Run folder of the translator (flexlam train translator)."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, time, print a table."""
    options, settings = parse_with_preset(EvalLatency, "latency", prog, arguments)
    from flexlam.evaluate.latency import measure_latency
    from flexlam.report.returns import latency_table
    from flexlam.study.showing import longest_episode
    from flexlam.translator.model import load_translator

    opened = open_measured(options, "latency", " ".join([prog, *arguments]), settings)
    assert opened.policy is not None  # the option is needed
    translator = load_translator(options.translator, opened.lam.hash)
    frames = longest_episode(opened.pairs)
    results = opened.record | measure_latency(opened.lam, opened.policy, translator, frames, settings)
    write_results(options, results)
    print(latency_table(results).to_text())

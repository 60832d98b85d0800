"""What a shorter decision costs and saves: return and latency of one FlexLAM at every k (FlexLAM Table 2)."""

from flexlam.report.table import Table
from flexlam.study import returns as acting
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import below, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found
from flexlam.study.graph import Step
from flexlam.study.methods import FLEX
from flexlam.study.pieces.acting import AGENT, latency_step
from flexlam.study.returns import quarter_claim, returns_table


def steps(config: StudyConfig) -> list[Step]:
    """The FlexLAM agents of `returns`, acting and timed."""
    wanted = []
    for returns in acting.steps(config):
        if returns.about["method"] == FLEX:
            data, lam, policy = returns.parents
            latency = config.acting.latency.model_copy(
                update={"prefix_lengths": config.prefix_lengths, "rule": config.acting.returns.rule}
            )
            wanted += [returns, latency_step(data, lam, policy, returns, latency, returns.about)]
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """How much return a quarter of the slots keeps, and how much time it saves."""
    high = max(config.prefix_lengths)
    full_ms = found.of_seeds("mean_ms", k=high)

    def row(k: int) -> tuple[str, ...]:
        ms = found.of_seeds("mean_ms", k=k)
        times = f"{sum(full_ms) / sum(ms):.2f}×" if ms else "–"
        return str(k), found.cell("normalised", 2, method=FLEX, actor=AGENT, k=k), found.cell("mean_ms", 1, k=k), times

    header = ("k", "normalised return", "ms a decision", f"faster than k = {high}")
    tables = {
        "One FlexLAM: mean over LAM seeds ± standard error": Table(header, (tuple(map(row, config.prefix_lengths)),)),
        "Normalised return by task": returns_table(config, found, (FLEX,)),
    }
    if not found:
        return Outcome([], tables, {})
    claims = quarter_claim(config, found)
    if high // 4 in config.prefix_lengths:
        milliseconds = (found.values("mean_ms", k=k) for k in (high // 4, high))
        claims.append(
            below(
                "quarter-is-faster",
                f"a decision at k = {high // 4} takes less time than at K = {high}",
                paired_effect(*milliseconds),
                unit="ms",
            )
        )
    return Outcome(claims, tables, {})


def study() -> Study:
    """Does a quarter of the slots keep nine tenths of the return?"""
    return Study(steps, conclude)

"""flexlam eval returns PRESET --lam RUN --policy RUN --data STORE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.measure import ActingMeasurement, open_measured, write_results
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class EvalReturns(ActingMeasurement):
    """Let the agent act at every prefix length, on the same test episodes as the controls and clones beside it."""

    clips: Path | None = None
    """Folder for an animation of each task (TASK.webp), codes beneath the frames."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, act, print tables."""
    options, settings = parse_with_preset(EvalReturns, "returns", prog, arguments)
    from flexlam.evaluate.returns import averages_ways, measure_returns
    from flexlam.report.clips import save_clip
    from flexlam.report.returns import return_comparisons_table, returns_table
    from flexlam.study.showing import rollout_clips

    opened = open_measured(options, "returns", " ".join([prog, *arguments]), settings)
    assert opened.policy is not None  # the option is needed
    if averages_ways(opened.policy, opened.pairs.store.action_spec, settings.rule):
        print(
            f"Warning: continuous actions are averaged over {settings.rule.num_samples} draws of a policy whose draws "
            "may be different ways to act; their mean may be none of them. For one draw: --rule.num-samples 1."
        )
    acted = measure_returns(opened.lam, opened.pairs, settings, opened.policy)
    write_results(options, opened.record | acted.results)
    if options.clips:
        for clip in rollout_clips(acted, opened.pairs):
            save_clip(options.clips / f"{clip.task}.webp", clip)
    print(returns_table(acted.results).to_text())
    if "markov" in settings.baselines and "markov" not in acted.results["tasks"][0]["baselines"]:
        print("\nWithout the baseline markov, which needs actions of a single choice.")
    comparisons = return_comparisons_table(acted.results)
    if comparisons:
        print(f"\n{comparisons.to_text()}")

"""LAFP over prefixes of one FlexLAM: success and time over (k, Euler steps), beside the policies that take no steps."""

from collections.abc import Callable

from matplotlib.axes import Axes

from flexlam.report.table import Table
from flexlam.study.claims import Claim, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import curves, logarithmic, panels
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.lafp_factors import MARGIN, shown
from flexlam.study.lafp_methods import FLOW, REGRESSION
from flexlam.study.pieces.deciding import pace_step, tried_policy
from flexlam.training.latent_source import LatentSourceConfig

SEQUENCE, PACE = "sequence model", "pace"


def union_steps(config: StudyConfig) -> list[Step]:
    """Three policies on the codes of one model at every k, and the flow's times, on the first seeds."""
    lafp, union = config.lafp, config.lafp.union
    shared = {"num_episodes": union.num_episodes, "prefix_lengths": union.prefix_lengths}
    drawn = lafp.deciding.model_copy(update={**shared, "num_steps": union.num_steps})
    inferred = LatentSourceConfig(source="inferred")
    other = lafp.deciding.model_copy(update={**shared, "num_steps": (1,), "latents": inferred})
    wanted = []
    for seed in config.seeds[: union.num_seeds]:
        tried = [
            tried_policy(config, union.lam, policy, deciding, seed, {"part": "union", "method": method})
            for method, policy, deciding in (
                (FLOW, lafp.flow, drawn),
                (REGRESSION, lafp.regression, other),
                (SEQUENCE, union.sequence, other),
            )
        ]
        wanted += [*tried, pace_step(tried[:1], lafp.pace, {"part": "union", "method": PACE, "seed": seed})]
    return wanted


def union_claims(config: StudyConfig, found: Found) -> list[Claim]:
    """Short prefixes are enough where the choice is one of two."""
    low, high = min(config.lafp.union.prefix_lengths), max(config.lafp.union.prefix_lengths)
    number = config.lafp.deciding.num_steps[0]
    if number not in config.lafp.union.num_steps:
        return []

    def success(k: int) -> Values:
        return found.values("success", part="union", method=FLOW, k=k, num_steps=number)

    return [
        non_inferior(
            "short-prefix-enough",
            f"at k = {low} and {number} steps LAFP succeeds at most {MARGIN:g} less than at k = {high}",
            {f"k={low}": paired_effect(success(high), success(low))},
            MARGIN,
            "success",
        )
    ]


def union_tables(config: StudyConfig, found: Found) -> dict[str, Table]:
    """Success with LAFP's milliseconds, and which way was taken: one row a k, one column a number of steps."""
    union = config.lafp.union

    def success(k: int, number: int) -> str:
        success = found.cell("success", 2, part="union", method=FLOW, k=k, num_steps=number)
        return f"{success} ({found.cell('ms', 2, part='union', method=PACE, k=k, num_steps=number)})"

    def table(name: str, drawn: Callable[[int, int], str]) -> Table:
        rows = tuple(
            (
                str(k),
                *(drawn(k, number) for number in union.num_steps),
                *(shown(found, name, 2, part="union", method=method, k=k) for method in (REGRESSION, SEQUENCE)),
            )
            for k in union.prefix_lengths
        )
        steps = (f"LAFP, {number} step{'s' * (number > 1)}" for number in union.num_steps)
        return Table(("k", *steps, REGRESSION, SEQUENCE), (rows,))

    return {
        "Over prefixes of one FlexLAM: success, and LAFP's CPU-milliseconds a decision in brackets": table(
            "success", success
        ),
        "Over prefixes of one FlexLAM: share of the successful episodes that go up": table(
            "up", lambda k, number: shown(found, "up", 2, part="union", method=FLOW, k=k, num_steps=number)
        ),
    }


def union_figures(config: StudyConfig, found: Found) -> dict[str, str]:
    """Success and milliseconds over k, a curve for each number of steps."""
    union = config.lafp.union

    def figure(name: str, method: str, label: str) -> str:
        series = {
            f"{number} step{'s' * (number > 1)}": [
                found.of_seeds(name, part="union", method=method, k=k, num_steps=number) for k in union.prefix_lengths
            ]
            for number in union.num_steps
        }

        def draw(axes: Axes, number: int) -> None:
            curves(axes, union.prefix_lengths, series)
            logarithmic(axes, union.prefix_lengths)

        return panels(["LAFP over prefixes"], draw, "prefix length k", label, width=4.0)

    return {
        "lafp-success.svg": figure("success", FLOW, "success"),
        "lafp-milliseconds.svg": figure("ms", PACE, "CPU-milliseconds a decision"),
    }

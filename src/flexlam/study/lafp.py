"""LAFP (2606.10517) where two ways are equally good: flow matching in latent space beside behaviour cloning in it.

In the world of two routes whoever returns the mean of the data gets stuck, by construction (docs/worlds.md). Beside it
stand games, in which the mean may be good enough.
"""

from flexlam.core.errors import ConfigError
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, above, below, mean_effect
from flexlam.study.config import DecidingConfig, StudyConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.lafp_factors import COLUMNS, factor_claims, factor_steps, factor_table, shown
from flexlam.study.lafp_games import games_claims, games_steps, games_tables
from flexlam.study.lafp_methods import FLOW, REGRESSION, REGRESSION_OWN, better_decoder
from flexlam.study.lafp_union import union_claims, union_figures, union_steps, union_tables
from flexlam.study.pieces.deciding import pace_step, tried_policy
from flexlam.training.latent_source import LatentSourceConfig

METHODS = (REGRESSION, REGRESSION_OWN, FLOW)
"""What the main comparison holds."""
PACE = "pace"


def steps(config: StudyConfig) -> list[Step]:
    """The main comparison and games on all seeds; single factors and the surface over prefixes on the first ones.

    Raises:
        ConfigError: a world without two routes, the user's own dataset, or a game that cannot be scored.
        SuiteError: a game that cannot be opened.
    """
    recording = config.lafp.recording
    if config.dataset is not None or recording.suite != "two-routes" or len(recording.tasks) != 1:
        raise ConfigError(
            "The study lafp acts in a world of two routes and records it itself. Leave out --dataset, and let "
            "lafp.recording name the suite and the task two-routes."
        )
    wanted = []
    for seed in config.seeds:
        tried = {method: _main_step(config, method, seed) for method in METHODS}
        about = {"part": "main", "method": PACE, "seed": seed}
        wanted += [*tried.values(), pace_step([tried[REGRESSION], tried[FLOW]], config.lafp.pace, about)]
    return wanted + factor_steps(config) + union_steps(config) + games_steps(config)


def _main_step(config: StudyConfig, method: str, seed: int) -> Step:
    lafp, about = config.lafp, {"part": "main", "method": method, "seed": seed}
    if method == FLOW:
        return tried_policy(config, lafp.lam, lafp.flow, lafp.deciding, seed, about)
    source = LatentSourceConfig(source="inferred" if method == REGRESSION else "sampled")
    deciding = without_steps(lafp.deciding).model_copy(update={"latents": source})
    return tried_policy(config, lafp.lam, lafp.regression, deciding, seed, about)


def without_steps(deciding: DecidingConfig) -> DecidingConfig:
    """For a policy that takes no Euler steps, and has none to differ in."""
    return deciding.model_copy(update={"num_steps": (1,)})


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """Whether drawing beats returning the mean, at which price, and what that depends on."""
    if not found:
        return Outcome([], {}, {})
    claims = _claims(found) + factor_claims(config, found)
    union = bool(found.values("success", part="union"))  # of the first seeds, which may be computed elsewhere
    if union:
        claims += union_claims(config, found)
    claims += games_claims(config, found)
    mean = "mean over LAM seeds ± standard error"
    tables = {
        f"Policies on the same latents: {mean}": main_table(found),
        f"LAFP, one factor at a time: {mean}": factor_table(config, found),
        **union_tables(config, found),
        **games_tables(config, found),
    }
    return Outcome(claims, tables, union_figures(config, found) if union else {})


def _claims(found: Found) -> list[Claim]:
    """Of the main comparison; which way is taken can be told only where somebody succeeds."""

    def values(name: str, method: str) -> Values:
        return found.values(name, part="main", method=method)

    better = better_decoder(values("success", REGRESSION), values("success", REGRESSION_OWN))
    claims = [
        below(
            "regression-stuck",
            "regression in latent space succeeds in at most .40 of the episodes, with the better decoder of each seed",
            mean_effect(better),
            0.4,
            "success",
        ),
        above(
            "flow-succeeds",
            "LAFP succeeds in at least .90 of the episodes",
            mean_effect(values("success", FLOW)),
            0.9,
            "success",
        ),
        below(
            "flow-overhead",
            "LAFP takes less than twice regression's CPU time a decision (the overhead, in times of regression's)",
            mean_effect(_overhead(found)),
            1.0,
            "times of regression's",
        ),
    ]
    if up := values("up", FLOW):
        shares = mean_effect(up)
        name, unit = "LAFP's successful episodes go up in", "share of successful episodes"
        claims += [
            above("flow-goes-up", f"{name} at least .35", shares, 0.35, unit),
            below("flow-goes-down", f"{name} at most .65", shares, 0.65, unit),
        ]
    return claims


def _overhead(found: Found) -> Values:
    """Time that the flow takes beyond regression's, in times of regression's; both of one run."""

    flow, regression = (
        found.values("ms", part="main", method=PACE, policy=_kind(method)) for method in (FLOW, REGRESSION)
    )
    return {seed: [a / b - 1 for a, b in zip(flow[seed], regression[seed], strict=True)] for seed in flow}


def main_table(found: Found) -> Table:
    """One row a method."""
    rows = tuple(
        (
            method,
            *(shown(found, name, part="main", method=method) for name in COLUMNS),
            found.cell("ms", part="main", method=PACE, policy=_kind(method)),
        )
        for method in METHODS
    )
    return Table(("policy", *COLUMNS.values(), "CPU-ms a decision"), (rows,))


def _kind(method: str) -> str:
    return "flow-policy" if method == FLOW else "regression-policy"


def study() -> Study:
    """Does drawing latent actions succeed where their mean gets stuck, at which price, and with which prefixes?"""
    return Study(steps, conclude)

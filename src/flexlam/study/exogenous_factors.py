"""One factor at a time beside the main comparison: how much is new in the background, and how many slots there are."""

from collections.abc import Iterator

import numpy as np

from flexlam.acting.recording import RecordingConfig
from flexlam.core.errors import ConfigError
from flexlam.report.table import Table
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found
from flexlam.study.graph import Step
from flexlam.study.pieces.remedies import CROSS, CROSS_FIRST, PLAIN, remedy_runs, remedy_step
from flexlam.training.lam import LamRunConfig

VARIED = (PLAIN, CROSS, CROSS_FIRST)
"""The methods that factors are varied for."""


def factor_steps(config: StudyConfig) -> list[Step]:
    """Every level of every factor.

    Raises:
        ConfigError: there is no such world, or its background has no innovation to vary.
    """
    wanted = []
    for factor, level, recording, plain in _levels(config):
        runs = remedy_runs(config.exogenous, plain, recording.suite)
        for method in VARIED:
            for seed in config.seeds[: config.exogenous.factors.num_seeds]:
                about = {"role": "factor", "factor": factor, "level": level, "method": method, "seed": seed}
                wanted.append(remedy_step(config, recording, runs[method], seed, about))
    return wanted


def _levels(config: StudyConfig) -> Iterator[tuple[str, float, RecordingConfig, LamRunConfig]]:
    """Factor, level, the world, and plain FlexLAM there."""
    factors, worlds = config.exogenous.factors, config.exogenous.worlds
    if not factors.world:
        return
    if factors.world not in worlds:
        raise ConfigError(f"exogenous.factors.world is {factors.world!r}; the worlds are {', '.join(worlds)}.")
    pair = worlds[factors.world]
    recording, plain = pair.reported, pair.lam or config.exogenous.lam
    for innovation in factors.innovations:
        waves = recording.overlays[0] if recording.overlays else None
        if waves is None or not hasattr(waves, "innovation"):
            raise ConfigError(
                f"The world {factors.world!r} has no waves in its background whose jumps could be varied."
            )
        changed = waves.model_copy(update={"innovation": innovation})
        others = recording.overlays[1:]
        yield "innovation", innovation, recording.model_copy(update={"overlays": (changed, *others)}), plain
    for num_slots in factors.num_slots:
        lam = plain.lam.model_copy(update={"num_slots": num_slots})
        yield "K", num_slots, recording, plain.model_copy(update={"lam": lam})


def factor_table(config: StudyConfig, found: Found) -> Table:
    """A group of rows for each factor."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    short = config.exogenous.prefix_length
    for factor, level, _, plain in _levels(config):
        for method in VARIED:
            where = {"role": "factor", "factor": factor, "level": level, "method": method}
            cells = [
                text
                for k in (short, plain.lam.num_slots)
                for text in (
                    _best(found, ("action_linear_nmse", "action_mlp_nmse", "action_given_state_nmse"), k, where),
                    _best(found, ("exogenous_innovation_linear_nmse", "exogenous_innovation_mlp_nmse"), k, where, True),
                )
            ]
            groups.setdefault(factor, []).append((f"{factor} = {level:g}", method, *cells))
    header = (
        "factor",
        "objective",
        *(f"{what}, {k}" for k in (f"k = {short}", "k = K") for what in ("action", "leakage")),
    )
    return Table(header, tuple(tuple(rows) for rows in groups.values()))


def _best(found: Found, names: tuple[str, ...], k: int, where: dict[str, object], share: bool = False) -> str:
    """The lowest error of several probes, or what the best of them reads, averaged over seeds."""
    of_probes = [found.of_seeds(name, k=k, **where) for name in names]
    lowest = [min(values) for values in zip(*(values for values in of_probes if values), strict=True)]
    if not lowest:
        return "–"
    return f"{np.mean([max(0.0, 1 - value) if share else value for value in lowest]):.3f}"

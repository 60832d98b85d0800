"""Labels from a single task, tests on the others (FlexLAM Fig. 4, Table 9)."""

from collections.abc import Callable
from functools import partial

from flexlam.core.errors import ConfigError
from flexlam.data.labels import LabelBudget
from flexlam.data.readers import open_dataset
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, below, mean_effect, non_inferior, paired_effect
from flexlam.study.config import NarrowConfig, StudyConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.methods import (
    DROPOUT,
    FIXED,
    FIXED_ENSEMBLE,
    FIXED_OURS,
    FLEX,
    OURS,
    compared,
    fixed,
    fixed_fits,
    flex,
    ours,
)
from flexlam.study.pieces.acting import AGENT, returns_step
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, translators_step
from flexlam.study.pieces.models import lam_step, policy_step

NARROW, UNIFORM = "one task", "all tasks"
_PAIRS = ((FLEX, FIXED), (FLEX, DROPOUT), (OURS, FIXED), (OURS, FIXED_OURS), (OURS, FIXED_ENSEMBLE))

Choose = Callable[[StudyConfig], NarrowConfig]


def steps(choose: Choose, config: StudyConfig) -> list[Step]:
    """Models on all recorded tasks; for each, translators of labels from the one task, and of as many from all."""
    narrow = choose(config)
    _check(config, narrow)
    data, ks = data_step(config, narrow.recording), narrow.prefix_lengths
    models = [
        (FLEX, flex(config), {FLEX: Fits(config.translator, ks)}),
        (OURS, ours(config), {OURS: Fits(config.ours.translator, ks)}),
    ]
    for k in ks:
        fits = fixed_fits(config, k)
        models.append(
            (FIXED, fixed(config, k), {name: fits[name] for name in (FIXED, DROPOUT, FIXED_OURS, FIXED_ENSEMBLE)})
        )
    wanted = []
    for seed in config.seeds:
        for kind, run, fits in models:
            lam = lam_step(data, run, seed, {"method": kind, "seed": seed})
            for origin, source in ((NARROW, narrow.source), (UNIFORM, None)):
                for method, of_method in fits.items():
                    about = {"method": method, "seed": seed, "origin": origin}
                    aimed = of_method.aimed(narrow.label_counts, source, narrow.tested)
                    wanted.append(translators_step(data, lam, config, aimed, seed, about))
                if kind in (FLEX, FIXED) and narrow.acting_tasks:
                    lengths = ks if kind == FLEX else (run.lam.num_slots,)
                    wanted.append(_returns(config, narrow, data, lam, lengths, source, seed, kind, origin))
    return wanted


def _check(config: StudyConfig, narrow: NarrowConfig) -> None:
    """Refuse tasks that the user's dataset does not have.

    Raises:
        ConfigError: it lacks some.
    """
    known = narrow.recording.tasks if config.dataset is None else open_dataset(config.dataset).info.tasks
    if unknown := {narrow.source, *narrow.tested, *narrow.acting_tasks} - set(known):
        raise ConfigError(
            f"There is no task {', '.join(sorted(unknown))} in the data, which have {', '.join(known)}. Give the "
            "labels' source and the tested tasks: --narrow.source, --narrow.tested, --narrow.acting-tasks (of "
            "narrow-pair: --narrow-pair.source ...)."
        )


def _returns(
    config: StudyConfig,
    narrow: NarrowConfig,
    data: Step,
    lam: Step,
    lengths: tuple[int, ...],
    source: str | None,
    seed: int,
    method: str,
    origin: str,
) -> Step:
    config.without_noise("of returns")
    about = {"method": method, "seed": seed, "origin": origin}
    policy = policy_step(data, lam, config.acting.policy, seed, about)
    labels = LabelBudget(count=max(narrow.label_counts), task=source)
    update = {"tasks": narrow.acting_tasks, "prefix_lengths": lengths, "baselines": (), "labels": labels}
    returns = config.acting.returns.model_copy(update=update)
    return returns_step(data, lam, policy, narrow.recording, returns, seed, about)


def conclude(choose: Choose, config: StudyConfig, found: Found) -> Outcome:
    """What a narrow source costs each method; of no seed, no claims."""
    narrow = choose(config)
    claims = _claims(config, narrow, found) if found else []
    if found and narrow.acting_tasks:
        claims.append(_below_random(narrow, found))
    title = f"Test loss, nats, N = {max(narrow.label_counts)}: mean over LAM seeds ± standard error"
    tables = {title: _table(narrow, found), f"{title}, by task": _by_task(narrow, found)}
    if narrow.acting_tasks:
        tables["Normalised return: mean over LAM seeds ± standard error"] = _returns_table(narrow, found)
    return Outcome(claims, tables, {})


def _claims(config: StudyConfig, narrow: NarrowConfig, found: Found) -> list[Claim]:
    high = max(narrow.prefix_lengths)

    def losses(method: str, k: int, origin: str = NARROW) -> Values:
        return found.values("action_loss", method=method, k=k, origin=origin, task=None)

    def cost(method: str) -> Values:
        """What the narrow source costs beside as many labels from all tasks, draw by draw."""
        one, every = losses(method, high), losses(method, high, UNIFORM)
        return {seed: [a - b for a, b in zip(one[seed], every[seed], strict=True)] for seed in one}

    claims = []
    for one, other in _PAIRS:
        key, mark = compared(one, other)
        claims.append(
            below(
                f"full-length-gain{key}",
                f"with labels from {narrow.source} alone FlexLAM loses less than Fixed-K at K = {high}{mark}",
                paired_effect(losses(one, high), losses(other, high)),
            )
        )
        claims.append(
            non_inferior(
                f"non-inferior{key}",
                f"there FlexLAM@k is behind Fixed-K at K = k by at most {config.margin:g} nats at every k{mark}",
                {f"k={k}": paired_effect(losses(one, k), losses(other, k)) for k in narrow.prefix_lengths},
                config.margin,
            )
        )
        claims.append(
            below(
                f"smaller-gap{key}",
                f"the narrow source costs FlexLAM less than Fixed-K at K = {high}, beside labels from all tasks{mark}",
                paired_effect(cost(one), cost(other)),
            )
        )
    return claims


def _below_random(narrow: NarrowConfig, found: Found) -> Claim:
    high = max(narrow.prefix_lengths)

    def count(method: str) -> Values:
        returns = found.values("normalised", method=method, k=high, origin=NARROW, actor=AGENT)
        return {seed: [float(sum(value < 0 for value in values))] for seed, values in returns.items()}

    one, other = count(FLEX), count(FIXED)
    return below(
        "fewer-tasks-below-random",
        f"with labels from {narrow.source} alone FlexLAM has fewer tasks below random than Fixed-K at K = {high}",
        mean_effect({seed: [one[seed][0] - other[seed][0]] for seed in one}),
        unit="tasks",
    )


def _table(narrow: NarrowConfig, found: Found) -> Table:
    header = ("method", *(f"{origin}, k = {k}" for origin in (NARROW, UNIFORM) for k in narrow.prefix_lengths))
    count = max(narrow.label_counts)
    rows = tuple(
        (
            method,
            *(
                found.cell("action_loss", method=method, k=k, origin=origin, task=None, labels=count)
                for origin in (NARROW, UNIFORM)
                for k in narrow.prefix_lengths
            ),
        )
        for method in (FLEX, OURS, FIXED, DROPOUT, FIXED_OURS, FIXED_ENSEMBLE)
    )
    return Table(header, (rows,))


def _by_task(narrow: NarrowConfig, found: Found) -> Table:
    high, count = max(narrow.prefix_lengths), max(narrow.label_counts)
    columns = [(method, origin) for origin in (NARROW, UNIFORM) for method in (FLEX, OURS, FIXED, DROPOUT)]
    header = ("task", *(f"{method}, {origin}" for method, origin in columns))
    rows = tuple(
        (
            task,
            *(
                found.cell("action_loss", method=method, k=high, origin=origin, task=task, labels=count)
                for method, origin in columns
            ),
        )
        for task in narrow.tested
    )
    return Table(header, (rows,))


def _returns_table(narrow: NarrowConfig, found: Found) -> Table:
    header = ("agent", *(f"{task}, {origin}" for task in narrow.acting_tasks for origin in (NARROW, UNIFORM)))
    rows = tuple(
        (
            f"{method}, k = {k}",
            *(
                found.cell("normalised", 2, method=method, k=k, origin=origin, task=task, actor=AGENT)
                for task in narrow.acting_tasks
                for origin in (NARROW, UNIFORM)
            ),
        )
        for method in (FLEX, FIXED)
        for k in narrow.prefix_lengths
    )
    return Table(header, (rows,))


def _study(choose: Choose) -> Study:
    return Study(partial(steps, choose), partial(conclude, choose))


def study() -> Study:
    """Do codes align with labels from the arena alone, tested on the other tasks?"""
    return _study(lambda config: config.narrow)


def pair() -> Study:
    """Do codes align with labels from one task alone, tested on another, under flicker?"""
    return _study(lambda config: config.narrow_pair)

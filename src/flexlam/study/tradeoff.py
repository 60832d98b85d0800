"""FlexLAM at prefix length k beside Fixed-K models trained for that k alone (FlexLAM Figs. 1 and 3)."""

from collections.abc import Callable

from matplotlib.axes import Axes

from flexlam.metrics.intervals import estimate
from flexlam.report.table import Table, with_stderr
from flexlam.study.base import Measured, Outcome, Study
from flexlam.study.claims import Claim, Effect, above, below, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.figures import curves, logarithmic, panels
from flexlam.study.graph import Step
from flexlam.study.pieces import data_step, equal_steps, floors_step, frame_shape, lam_step, translators_step
from flexlam.training.lam import LamRunConfig

FLEX, SUMMED, FIXED, DROPOUT, DECAY = (
    "FlexLAM",
    "FlexLAM, summed cost",
    "Fixed-K",
    "Fixed-K + prefix",
    "Fixed-K + decay",
)
FLEX_DECAY = "FlexLAM + decay"
_RIVALS = (FIXED, DROPOUT, DECAY)

_FITS = {
    FLEX: ((FLEX, False, False), (FLEX_DECAY, False, True)),
    SUMMED: ((SUMMED, False, False),),
    FIXED: ((FIXED, False, False), (DROPOUT, True, False), (DECAY, False, True)),
}
"""Kind of model -> ways to fit on it: name, prefix dropout on whole codes, choice of the weight decay."""

Losses = dict[int, list[float]]
"""LAM seed -> test losses of its label draws."""


def steps(config: StudyConfig) -> list[Step]:
    """Six ways to fit on three kinds of models; every model but the summed one costs the same arithmetic."""
    data = data_step(config)
    wanted: list[Step] = []
    every = models(config)
    for seed in config.seeds:
        wanted.append(floors_step(data, config, seed))
        for kind, run in every:
            lam = lam_step(data, run, seed, {"method": kind, "seed": seed})
            lengths = () if kind == FIXED else config.prefix_lengths
            for method, prefix_dropout, decay in _FITS[kind]:
                about, decays = {"method": method, "seed": seed}, config.weight_decays if decay else ()
                wanted.append(translators_step(data, lam, config, seed, about, prefix_dropout, decays, lengths))
    return wanted


def models(config: StudyConfig) -> list[tuple[str, LamRunConfig]]:
    """FlexLAM, the one of the summed cost, and a Fixed-K model for each k."""
    models = [(FLEX, config.lam)]
    models.append((SUMMED, _for_steps(config.lam, config.lam.training.num_steps * len(config.prefix_lengths))))
    for k in config.prefix_lengths:
        lam = config.lam.lam.model_copy(update={"num_slots": k, "prefix_sampling": "full"})
        fixed = config.lam.model_copy(update={"lam": lam})
        models.append((FIXED, _for_steps(fixed, equal_steps(config.lam, fixed, frame_shape(config)))))
    return models


def _for_steps(run: LamRunConfig, num_steps: int) -> LamRunConfig:
    return run.model_copy(update={"training": run.training.model_copy(update={"num_steps": num_steps})})


def conclude(config: StudyConfig, measured: list[Measured]) -> Outcome:
    """Claims of the paper, and those against the controls; of no seed, no claims."""

    def losses(method: str, k: int | None, count: int | None) -> Losses:
        found: Losses = {}
        for entry in measured:
            if entry.about["method"] == method:
                values = [row["action_loss"] for row in entry.rows if row.get("k") == k and row["labels"] == count]
                if values:
                    found[entry.about["seed"]] = values
        return found

    claims = _claims(config, losses) if measured else []
    tables = {
        "Test loss of the translator, nats: mean over LAM seeds ± standard error": _table(config, losses),
        "CPU-seconds of training, mean over LAM seeds": _costs(measured),
    }
    return Outcome(claims, tables, {"tradeoff.svg": _figure(config, losses)} if claims else {})


def _claims(config: StudyConfig, losses: Callable[[str, int | None, int | None], Losses]) -> list[Claim]:
    ks, counts = config.prefix_lengths, config.label_counts
    low, high, few, many = min(ks), max(ks), min(counts), max(counts)

    def gap(k: int, count: int, ours: str = FLEX, theirs: str = FIXED) -> Effect:
        return paired_effect(losses(ours, k, count), losses(theirs, k, count))

    def cells(ours: str, theirs: str) -> dict[str, Effect]:
        return {f"k={k} N={count}": gap(k, count, ours, theirs) for k in ks for count in counts}

    claims = []
    for ours, theirs in ((FLEX, FIXED), (SUMMED, FIXED), (FLEX, DROPOUT), (FLEX_DECAY, DECAY)):
        mark = "" if (ours, theirs) == (FLEX, FIXED) else f" [{ours} against {theirs}]"
        key = "" if not mark else f"/{ours}/{theirs}".lower().replace(" ", "-").replace(",", "")
        claims.append(
            non_inferior(
                f"non-inferior{key}",
                f"FlexLAM@k is behind Fixed-K at K = k by at most {config.margin:g} nats in every (k, N) cell{mark}",
                cells(ours, theirs),
                config.margin,
            )
        )
        claims.append(
            below(
                f"superior-loose-few{key}",
                f"at K = {high} and N = {few} FlexLAM's loss is below Fixed-K's{mark}",
                gap(high, few, ours, theirs),
            )
        )
    claims.append(
        above(
            "loose-fragile",
            f"Fixed-K at K = {high} loses more than at K = {low} with N = {few} labels",
            paired_effect(losses(FIXED, high, few), losses(FIXED, low, few)),
        )
    )
    claims.append(
        above(
            "tight-limited",
            f"Fixed-K at K = {low} loses more than at K = {high} with N = {many} labels",
            paired_effect(losses(FIXED, low, many), losses(FIXED, high, many)),
        )
    )
    claims.append(
        below(
            "dropout-explains",
            f"the same prefix dropout lowers the loss of Fixed-K at K = {high} with N = {few} labels, too",
            gap(high, few, DROPOUT, FIXED),
        )
    )
    return claims


def _table(config: StudyConfig, losses: Callable[[str, int | None, int | None], Losses]) -> Table:
    header = ("method", *(f"N = {count}" for count in config.label_counts))

    def row(name: str, method: str, k: int | None) -> tuple[str, ...]:
        return name, *(_cell(losses(method, k, count)) for count in config.label_counts)

    groups = [
        tuple(row(f"{method}, k = {k}", method, k) for method in (FLEX, SUMMED, FLEX_DECAY, *_RIVALS))
        for k in config.prefix_lengths
    ]
    floor = row("previous action, same labels", "previous action", None)
    everything = losses("previous action", None, None)
    every = ("previous action, all labels", *(_cell(everything) for _ in config.label_counts[:1]))
    return Table(header, (*groups, (floor, every + ("",) * (len(header) - len(every)))))


def _figure(config: StudyConfig, losses: Callable[[str, int | None, int | None], Losses]) -> str:
    ks, counts = config.prefix_lengths, config.label_counts

    def draw(axes: Axes, number: int) -> None:
        series = {
            method: [_of_seeds(losses(method, ks[number], count)) for count in counts]
            for method in (FLEX, FIXED, DROPOUT)
            if all(losses(method, ks[number], count) for count in counts)
        }
        curves(axes, counts, series)
        logarithmic(axes, counts)

    return panels([f"k = {k}" for k in ks], draw, "labels N", "test loss of the translator, nats")


def _costs(measured: list[Measured]) -> Table:
    seconds: dict[tuple[str, int | None], list[float]] = {}
    for entry in measured:
        if entry.training_seconds and entry.about["method"] in (FLEX, SUMMED, FIXED):
            k = entry.rows[0]["k"] if entry.about["method"] == FIXED else None
            seconds.setdefault((entry.about["method"], k), []).append(entry.training_seconds)
    rows = tuple(
        (method if k is None else f"{method}, K = {k}", with_stderr(found.mean, found.stderr, 0))
        for (method, k), values in seconds.items()
        for found in (estimate(values),)
    )
    return Table(("model", "CPU-seconds"), (rows,))


def _cell(losses: Losses) -> str:
    if not losses:
        return "–"
    found = estimate(_of_seeds(losses))
    return with_stderr(found.mean, found.stderr, 3)


def _of_seeds(losses: Losses) -> list[float]:
    """Means over draws."""
    return [sum(draws) / len(draws) for draws in losses.values()]


def study() -> Study:
    """Does one FlexLAM hold up beside Fixed-K models at every prefix length and label budget?"""
    return Study(steps, conclude)

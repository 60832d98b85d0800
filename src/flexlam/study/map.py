"""Where the claim holds: FlexLAM beside Fixed-K at the largest K, one factor changed at a time.

Runs on the tasks on which settings may be tried, so it maps the ground and confirms nothing.
"""

from flexlam.core import catalog
from flexlam.metrics.intervals import estimate
from flexlam.report.table import Table, with_stderr
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Effect, below, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found
from flexlam.study.graph import Step
from flexlam.study.methods import DROPOUT, FIXED, FIXED_OURS, FLEX, OURS, compared, fixed, fixed_fits, flex, ours
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.fits import Fits, translators_step
from flexlam.study.pieces.models import lam_step, with_steps

_PAIRS = ((FLEX, FIXED), (FLEX, DROPOUT), (OURS, FIXED), (OURS, FIXED_OURS))
_BASE = "as it is"


def variations(config: StudyConfig) -> dict[str, StudyConfig]:
    """Training length, K, vocabulary, nuisance, label noise and behaviour, each changed alone.

    Of the user's own dataset there is no other recording: nuisance and behaviour are left out.
    """
    lam, num_steps, num_slots = config.lam.lam, config.lam.training.num_steps, config.lam.lam.num_slots
    lengths = {f"trained for {share:g} times as long": round(num_steps * share) for share in (0.5, 3)}
    found = {_BASE: config}
    found |= {name: config.model_copy(update={"lam": with_steps(config.lam, steps)}) for name, steps in lengths.items()}
    for slots in (num_slots // 2, num_slots * 2):
        found[f"K = {slots}"] = _with_model(config, {"num_slots": slots})
    small = lam.quantizer.model_copy(update={"levels": (4, 4)})
    found["16 codes a slot"] = _with_model(config, {"quantizer": small})
    if config.dataset is None:
        for name in catalog.names("overlay"):
            overlays = (catalog.lookup("overlay", name).Config(),)
            found[f"under {name}"] = _recorded(config, {"overlays": overlays})
        found["expert alone"] = _recorded(config, {"behaviour": "expert"})
        found["random behaviour"] = _recorded(config, {"behaviour": "random"})
    found["a fifth of the labels wrong"] = config.model_copy(update={"label_noise": 0.2})
    return found


def steps(config: StudyConfig) -> list[Step]:
    """For each variation and seed FlexLAM and Fixed-K with the variation's K, and their translators."""
    wanted = []
    for name, varied in variations(config).items():
        high = varied.lam.lam.num_slots
        varied = varied.model_copy(update={"prefix_lengths": (high,)})
        data, budgets = data_step(varied, varied.explored), (min(config.label_counts), max(config.label_counts))
        for_fixed = fixed_fits(varied, high)
        models = (
            (flex(varied), {FLEX: Fits(varied.translator, (high,))}),
            (ours(varied), {OURS: Fits(varied.ours.translator, (high,))}),
            (fixed(varied, high), {method: for_fixed[method] for method in (FIXED, DROPOUT, FIXED_OURS)}),
        )
        for seed in config.seeds:
            for run, fits in models:
                lam = lam_step(data, run, seed, {"method": next(iter(fits)), "seed": seed})
                for method, of_method in fits.items():
                    about = {"method": method, "seed": seed, "factor": name}
                    aimed = of_method.aimed(budgets, None, ())
                    wanted.append(translators_step(data, lam, varied, aimed, seed, about))
    return wanted


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """The gap between the two, with few labels and with many, under each factor."""
    names, few, many = list(variations(config)), min(config.label_counts), max(config.label_counts)

    def gap(factor: str, count: int, one: str, other: str) -> Effect:
        return paired_effect(
            *(found.values("action_loss", method=method, factor=factor, labels=count) for method in (one, other))
        )

    def cell(factor: str, count: int, one: str, other: str) -> str:
        if not found:
            return "–"
        mean = estimate(gap(factor, count, one, other).per_seed)
        return "+" * (mean.mean >= 0) + with_stderr(mean.mean, mean.stderr, 3)

    def table(count: int) -> Table:
        header = ("changed", f"{FIXED}, nats", *(f"{one} − {other}" for one, other in _PAIRS))
        rows = tuple(
            (
                name,
                found.cell("action_loss", method=FIXED, factor=name, labels=count),
                *(cell(name, count, one, other) for one, other in _PAIRS),
            )
            for name in names
        )
        return Table(header, (rows,))

    tables = {
        f"Test loss at the largest K with N = {count}, mean over LAM seeds": table(count) for count in (few, many)
    }
    claims = [
        below(
            f"superior-loose-few/{name}{compared(one, other)[0]}".replace(" ", "-"),
            f"{name}: with N = {few} FlexLAM's loss is below Fixed-K's{compared(one, other)[1]}",
            gap(name, few, one, other),
        )
        for name in (names if found else ())
        for one, other in _PAIRS
    ]
    return Outcome(claims, tables, {})


def _with_model(config: StudyConfig, update: dict[str, object]) -> StudyConfig:
    lam = config.lam.model_copy(update={"lam": config.lam.lam.model_copy(update=update)})
    return config.model_copy(update={"lam": lam})


def _recorded(config: StudyConfig, update: dict[str, object]) -> StudyConfig:
    return config.model_copy(update={"explored": config.explored.model_copy(update=update)})


def study() -> Study:
    """Where does FlexLAM beat Fixed-K at the largest K, and where not?"""
    return Study(steps, conclude)

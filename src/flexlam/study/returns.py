"""Returns of agents on the codes of FlexLAM and of Fixed-K models, and of cloning (FlexLAM Fig. 3, right)."""

from collections.abc import Sequence

from flexlam.core.errors import ConfigError
from flexlam.data.readers import open_dataset
from flexlam.evaluate.contenders import Baseline
from flexlam.report.table import Table
from flexlam.study.base import Outcome, Study
from flexlam.study.claims import Claim, above, mean_effect, non_inferior, paired_effect
from flexlam.study.config import StudyConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.methods import FIXED, FLEX, fixed, flex
from flexlam.study.pieces.acting import AGENT, returns_step
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.models import lam_step, policy_step

BASELINES: tuple[Baseline, ...] = ("random", "cloning", "cloning_same_labels", "idm_cloning")
ACTOR_NAMES = {
    "random": "random",
    "cloning": "cloning, all labels",
    "cloning_same_labels": "cloning, same labels",
    "idm_cloning": "cloning, labels by an inverse dynamics model",
    "recorded": "recorded episodes",
}
"""How tables call who acts beside agents."""


def steps(config: StudyConfig) -> list[Step]:
    """A policy and its returns on the codes of each model; of FlexLAM at every k, with the baselines beside it.

    Raises:
        ConfigError: no tasks to act in, some that the user's dataset does not have, or label noise.
    """
    _check(config)
    data = data_step(config, config.acting.recording)
    recording = config.acting.recording or config.recording
    models = [(FLEX, flex(config), config.prefix_lengths, BASELINES)]
    models += [(FIXED, fixed(config, k), (k,), ()) for k in config.prefix_lengths]
    wanted = []
    for seed in config.seeds:
        for method, run, lengths, baselines in models:
            about = {"method": method, "seed": seed}
            lam = lam_step(data, run, seed, about)
            policy = policy_step(data, lam, config.acting.policy, seed, about)
            update = {"tasks": config.acting.tasks, "prefix_lengths": lengths, "baselines": baselines}
            returns = config.acting.returns.model_copy(update=update)
            wanted.append(returns_step(data, lam, policy, recording, returns, seed, about))
    return wanted


def _check(config: StudyConfig) -> None:
    config.without_noise("of returns")
    if not config.acting.tasks:
        raise ConfigError("Studies of returns need tasks to act in: --acting.tasks, of those recorded.")
    if config.dataset is not None:
        known = open_dataset(config.dataset).info.tasks
        if unknown := set(config.acting.tasks) - set(known):
            raise ConfigError(
                f"The dataset {config.dataset} has no task {', '.join(sorted(unknown))} to act in. Give "
                "--acting.tasks of its own, if they have an environment; the studies of losses need none."
            )


def returns_of(found: Found, method: str, k: int) -> Values:
    """LAM seed -> normalised returns of the tasks."""
    return found.values("normalised", method=method, actor=AGENT, k=k)


def conclude(config: StudyConfig, found: Found) -> Outcome:
    """FlexLAM@k beside Fixed-K, and what video adds to N labels."""
    title = f"Normalised return with {config.acting.returns.labels.count} labels: mean over LAM seeds ± standard error"
    return Outcome(_claims(config, found) if found else [], {title: returns_table(config, found)}, {})


def _claims(config: StudyConfig, found: Found) -> list[Claim]:
    ks, margin = config.prefix_lengths, config.acting.margin
    high, unit = max(ks), "normalised return"
    behind = {f"k={k}": paired_effect(returns_of(found, FIXED, k), returns_of(found, FLEX, k)) for k in ks}
    claims = [
        non_inferior(
            "return-non-inferior",
            f"FlexLAM@k returns at most {margin:g} less than Fixed-K at K = k, at every k (mean over tasks)",
            behind,
            margin,
            unit,
        )
    ]
    for rival in ("cloning_same_labels", "idm_cloning"):
        theirs = found.values("normalised", method=FLEX, actor=rival)
        claims.append(
            above(
                f"video-helps/{rival.replace('_', '-')}",
                f"the agent at K = {high} returns more than {ACTOR_NAMES[rival]} (mean over tasks)",
                paired_effect(returns_of(found, FLEX, high), theirs),
                unit=unit,
            )
        )
    return claims


def quarter_claim(config: StudyConfig, found: Found, share: float = 0.9) -> list[Claim]:
    """A quarter of the slots keeps most of the return; needs such a k among those that acted."""
    high = max(config.prefix_lengths)
    if high // 4 not in config.prefix_lengths:
        return []
    short, full = (returns_of(found, FLEX, k) for k in (high // 4, high))
    kept = {seed: [a - share * b for a, b in zip(short[seed], full[seed], strict=True)] for seed in full}
    return [
        above(
            "quarter-keeps-return",
            f"the return at k = {high // 4} is at least {share:g} of that at K = {high} (their difference)",
            mean_effect(kept),
            unit="normalised return",
        )
    ]


def returns_table(config: StudyConfig, found: Found, methods: Sequence[str] = (FLEX, FIXED)) -> Table:
    """One column a task, and their mean."""
    header = ("who", *config.acting.tasks, "mean")

    def row(name: str, **where: object) -> tuple[str, ...]:
        cells = (found.cell("normalised", 2, task=task, **where) for task in config.acting.tasks)
        return name, *cells, found.cell("normalised", 2, **where)

    agents = tuple(
        row(f"{method}, k = {k}", method=method, actor=AGENT, k=k) for method in methods for k in config.prefix_lengths
    )
    others = tuple(row(name, method=FLEX, actor=actor) for actor, name in ACTOR_NAMES.items())
    return Table(header, (agents, others))


def study() -> Study:
    """Does one FlexLAM act as well as Fixed-K models, and better than cloning of the same labels?"""
    return Study(steps, conclude)

"""LAFP in games, beside regression in latent space and behaviour cloning: the paper's orders, by normalised returns."""

from collections.abc import Iterator

from flexlam.core import catalog
from flexlam.core.errors import ConfigError, did_you_mean
from flexlam.data.labels import LabelBudget
from flexlam.evaluate.contenders import Baseline
from flexlam.report.table import Table
from flexlam.study.claims import Claim, above, paired_effect
from flexlam.study.config import LafpGameConfig, StudyConfig
from flexlam.study.found import Found, Values
from flexlam.study.graph import Step
from flexlam.study.lafp_methods import FLOW, REGRESSION, REGRESSION_OWN, better_decoder
from flexlam.study.pieces.acting import AGENT, returns_step
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.models import lam_step, policy_step
from flexlam.study.pieces.suites import outline
from flexlam.study.returns import ACTOR_NAMES
from flexlam.training.policy import PolicyRunConfig

ONE_STEP, SAMPLED, INFERRED = f"{FLOW}, 1 step", f"{FLOW}, sampled latents", f"{FLOW}, inferred latents"
VECTOR = f"{FLOW}, vector target"
METHODS = (REGRESSION, REGRESSION_OWN, FLOW, ONE_STEP, SAMPLED, INFERRED, VECTOR)
SOURCES = {REGRESSION: "inferred", REGRESSION_OWN: "sampled", SAMPLED: "sampled", INFERRED: "inferred"}
"""Which latents a method's decoder is fitted to; of the others interpolated ones."""
BASELINES: tuple[Baseline, ...] = ("random", "cloning_same_labels", "cloning")
"""Measured once a seed, beside regression: no policy has a part in them."""


def games_steps(config: StudyConfig) -> list[Step]:
    """Every method in every game, on all seeds.

    Raises:
        ConfigError: a suite or task that does not exist, lacks a package or cannot be scored, or a rule to choose.
        SuiteError: a suite that cannot be used.
    """
    games = config.lafp.games
    for name, game in games.items():
        _check(name, game)
    return [step for name, game in games.items() for seed in config.seeds for step in _steps(config, name, game, seed)]


def _steps(config: StudyConfig, name: str, game: LafpGameConfig, seed: int) -> Iterator[Step]:
    """On one model, with the same labels and test episodes; methods that share a policy differ in decoder and rule."""
    about = {"part": "games", "game": name, "seed": seed}
    data = data_step(config, game.recording)
    lam = lam_step(data, game.lam, seed, about)
    vector = game.flow.model_copy(update={"policy": game.flow.policy.model_copy(update={"target": "vector"})})
    runs: dict[str, PolicyRunConfig] = {REGRESSION: game.regression, REGRESSION_OWN: game.regression, VECTOR: vector}
    for method in METHODS:
        policy = policy_step(data, lam, runs.get(method, game.flow), seed, about)
        asked, steps = game.returns, {"num_steps": 1} if method == ONE_STEP else {}
        update = {
            "tasks": _tasks(game),
            "prefix_lengths": (game.lam.lam.num_slots,),
            "latents": asked.latents.model_copy(update={"source": SOURCES.get(method, "interpolated")}),
            "rule": asked.rule.model_copy(update=steps),
            "baselines": BASELINES if method == REGRESSION else (),
        }
        returns = asked.model_copy(update=update)
        yield returns_step(data, lam, policy, game.recording, returns, seed, {**about, "method": method})


def _tasks(game: LafpGameConfig) -> tuple[str, ...]:
    return game.recording.tasks or outline(game.recording.suite).tasks


def _check(name: str, game: LafpGameConfig) -> None:
    """Refuse now what would come to light after hours."""
    where, suite = f"lafp.games.{name}", outline(game.recording.suite)
    for task in _tasks(game):
        if task not in suite.tasks:
            raise ConfigError(
                f"{where}: the suite {game.recording.suite} has no task {task!r}. {did_you_mean(task, suite.tasks)}"
            )
        if task not in suite.scored:
            raise ConfigError(
                f"{where}: the returns of {task!r} in {game.recording.suite} cannot be normalised, for nobody has "
                f"measured its expert. Tasks with a reference: {', '.join(suite.scored) or 'none'}."
            )
    if game.returns.candidate_rules:
        raise ConfigError(
            f"{where}: the number of Euler steps is compared, so the rule cannot be chosen. Leave out candidate_rules."
        )


def games_claims(config: StudyConfig, found: Found) -> list[Claim]:
    """The paper's orders in each game; the mean over its tasks is scored."""
    return [claim for name, game in config.lafp.games.items() for claim in _claims(name, game, found)]


def _claims(name: str, game: LafpGameConfig, found: Found) -> Iterator[Claim]:
    def returned(method: str, actor: str = AGENT) -> Values:
        return found.values("normalised", part="games", game=name, method=method, actor=actor)

    regression = better_decoder(returned(REGRESSION), returned(REGRESSION_OWN))
    steps, width = game.returns.rule.num_steps, _width(game)
    for id, statement, other in (
        ("flow-over-regression", "than regression in latent space, with the better decoder of each seed", regression),
        (
            "flow-over-cloning",
            "than behaviour cloning from the same labels alone",
            returned(REGRESSION, "cloning_same_labels"),
        ),
        ("several-steps-over-one", f"with {steps} steps than with 1", returned(ONE_STEP)),
        ("latent-over-vector", f"by predicting the latent, of width {width}, than the vector", returned(VECTOR)),
        (
            "interpolated-over-sampled",
            "with a decoder fitted to interpolated latents than with one fitted to sampled latents",
            returned(SAMPLED),
        ),
    ):
        effect = paired_effect(returned(FLOW), other)
        sentence = f"{name}: LAFP returns more {statement} (mean over tasks)"
        yield above(f"{name}/{id}", sentence, effect, unit="normalised return")


def _width(game: LafpGameConfig) -> int:
    """Numbers in a latent."""
    num_slots, quantizer = game.lam.lam.num_slots, game.lam.lam.quantizer
    width: int = num_slots * catalog.lookup("quantizer", quantizer.name)(quantizer, num_slots).latent_dim
    return width


def games_tables(config: StudyConfig, found: Found) -> dict[str, Table]:
    """A table for each game, because their tasks are others: one row a method or baseline, one column a task."""
    return {
        f"{name}: normalised return with {_labels(game.returns.labels)}: mean over LAM seeds ± standard error": _table(
            name, game, found
        )
        for name, game in config.lafp.games.items()
    }


def _labels(budget: LabelBudget) -> str:
    return f"{budget.count} labels" if budget.fraction is None else f"labels of {100 * budget.fraction:g} %"


def _table(name: str, game: LafpGameConfig, found: Found) -> Table:
    tasks = _tasks(game)

    def row(title: str, method: str, actor: str) -> tuple[str, ...]:
        where = {"part": "games", "game": name, "method": method, "actor": actor}
        cells = (found.cell("normalised", 2, task=task, **where) for task in tasks)
        return title, *cells, found.cell("normalised", 2, **where)

    agents = tuple(row(method, method, AGENT) for method in METHODS)
    others = tuple(row(ACTOR_NAMES[actor], REGRESSION, actor) for actor in (*BASELINES, "recorded"))
    return Table(("who", *tasks, "mean"), (agents, others))

"""What acting brings in: returns at every prefix length, beside controls and ceilings, paired by episode."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from flexlam.acting.actor import Actor
from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.baselines import ConstantActor
from flexlam.acting.rollout import Arena, PlayedEpisode
from flexlam.core.action import ActionSpec
from flexlam.core.config import component
from flexlam.core.errors import ConfigError, DataError, did_you_mean
from flexlam.core.parallel import run_jobs
from flexlam.core.progress import progress
from flexlam.data.store import FrameStore
from flexlam.envs.base import Reference, Suite, open_suite
from flexlam.envs.overlay import OverlayConfig, with_overlays
from flexlam.evaluate.contenders import (
    BLIND,
    CLONES,
    ContenderConfig,
    Contenders,
    constant_actions,
    train_contenders,
    usual_baselines,
)
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.intervals import estimate, paired_difference
from flexlam.policy.base import Policy
from flexlam.training.labelled import require_actions
from flexlam.training.pairs import SplitPairs
from flexlam.translator.serving import Translator

_MANY_EPISODES = 8  # a worker's share of a method's episodes at least, if these are divided

_Share = tuple[int | str, int, tuple[int, int]]
"""A method (k or a baseline), its number of episodes, and which of them: every n-th from the i-th on (i, n)."""


class ReturnsConfig(ContenderConfig):
    """Settings of a measurement of returns."""

    suite: str = "vizdoom"
    """Where to act: vizdoom, gridworld, two-routes, dm_control:TASK, metaworld, procgen (or one of their tasks alone,
    say procgen:maze), or gymnasium:ID for what is registered with Gymnasium."""
    overlays: tuple[component(OverlayConfig), ...] = ()  # type: ignore[valid-type]
    """Exogenous nuisance over the frames: what the recording had."""
    tasks: tuple[str, ...] = ()
    """Tasks to act in; empty means those of the data."""
    num_episodes: int = Field(default=50, ge=2)
    """Test episodes of each task, the same ones for everybody."""
    num_episodes_beside: int | None = Field(default=None, ge=2)
    """Test episodes (the first ones) of what no claim rests on, if that is to take less time: clones, and k between 0
    and the largest."""
    fewer_episodes: dict[str, Annotated[int, Field(ge=2)]] = Field(default_factory=dict)
    """Test episodes of single tasks, where they differ; tasks in which nobody acts are passed over."""
    num_choice_episodes: int = Field(default=4, ge=1)
    """Validation episodes on which the best constant action (and the rule, if there are candidates) is chosen."""
    num_environments: int = Field(default=25, ge=1)
    """Games at the same time."""
    prefix_lengths: tuple[int, ...] = ()
    """The k to report; empty means 0, 1, 2, 4, ... and K."""
    candidate_rules: tuple[DrawRule, ...] = ()
    """If given, `rule` becomes the one under which the agent (at k = K) and behaviour cloning together return most on
    validation episodes."""


@dataclass(frozen=True)
class Acted:
    """What was measured, and episodes to show."""

    results: dict[str, Any]
    shown: dict[str, PlayedEpisode]
    """Of each task, the first test episode of the agent at the largest k: its notes are the codes (k,) of decisions."""
    translator: Translator
    """That of the agent."""


def measure_returns(lam: LatentActionModel, pairs: SplitPairs, config: ReturnsConfig, policy: Policy) -> Acted:
    """Returns of the agent at every k and of every baseline, in each task, on episodes that nothing else has met.

    The baseline "markov" is left out by itself where actions are no single choice and nobody has chosen the baselines.
    Labels come from training episodes of the data; the best constant and the rule are chosen on validation episodes.

    Raises:
        ConfigError: no such suite, task or k.
        DataError: the store holds no actions, or those of the suite are others.
        SuiteError: a game cannot be started, or crashed.
    """
    suite = with_overlays(open_suite(config.suite), config.overlays, config.seed)
    tasks = _check_tasks(config, suite, pairs)
    lengths = check_prefix_lengths(config.prefix_lengths, lam.num_slots)
    config = config.model_copy(update={"baselines": usual_baselines(config, require_actions(pairs.store))})
    contenders = train_contenders(lam, policy, pairs, config)
    if config.candidate_rules:
        rule = choose_rule(contenders, suite, tasks, max(lengths), config)
        config = config.model_copy(update={"rule": rule})
    measured = [_measure_task(suite, task, lengths, contenders, pairs, config) for task in tasks]
    results = {
        "num_labels": contenders.num_labels,
        "rule": config.rule.model_dump(mode="json"),
        "translator": config.translator.name,
        "tasks": [row for row, _ in measured],
    }
    shown = {task: episode for task, (_, episode) in zip(tasks, measured, strict=True)}
    return Acted(results, shown, contenders.translator)


def averages_ways(policy: Policy, spec: ActionSpec | None, rule: DrawRule) -> bool:
    """Whether a rule averages continuous actions over several draws of a policy that is meant to be drawn from once."""
    several = policy.draws and rule.codes == "sample" and rule.num_samples > policy.usual_samples == 1
    return several and spec is not None and spec.num_continuous > 0


def _measure_task(
    suite: Suite,
    task: str,
    lengths: tuple[int, ...],
    contenders: Contenders,
    pairs: SplitPairs,
    config: ReturnsConfig,
) -> tuple[dict[str, Any], PlayedEpisode]:
    """One task: rows, baselines, comparisons; and the first episode of the full code."""
    count = config.fewer_episodes.get(task, config.num_episodes)
    plan = _plan_shares(lengths, count, config)
    slots = max(1, min(config.num_environments // len(plan), count))

    def play(worker: int) -> dict[int | str, list[PlayedEpisode]]:
        """The episodes that are this worker's."""
        rule = config.rule
        played: dict[int | str, list[PlayedEpisode]] = {}
        shown = progress(len(plan[worker]), task, "method") if worker == 0 else nullcontext()
        alone = {} if len(plan) == 1 else {"num_steppers": 1}  # others use the cores while this one waits for a game
        with Arena(suite, task, slots, **alone) as arena, shown as bar:
            for method, wanted, share in plan[worker]:
                if isinstance(method, int):
                    actor: Callable[[int], Actor] = partial(contenders.agent, method, rule)
                elif method == "shuffled":
                    actor = partial(contenders.shuffled[share[0]], max(lengths), rule)
                elif method == "constant":
                    actor = _best_constant(arena, pairs, config)
                else:
                    actor = partial(contenders.others[method], task, rule)
                kept = int(method == max(lengths))
                episodes = arena.play(actor, wanted, config.seed, share=share, num_kept=kept, note=_codes)
                played.setdefault(method, []).extend(episodes)
                if bar is not None:
                    bar.update()
        return played

    shares = run_jobs(play, len(plan), len(plan))
    played = {
        method: sorted(
            chain.from_iterable(share.get(method, ()) for share in shares), key=lambda episode: episode.number
        )
        for method in (*lengths, *config.baselines)
    }
    reference = suite.reference(task)
    rows = {k: _returns(played[k]) for k in lengths}
    others: dict[str, np.ndarray] = {name: _returns(played[name]) for name in config.baselines}
    result = {
        "task": task,
        "num_episodes": count,
        "reference": None if reference is None else dataclasses.asdict(reference),
        "rows": [{"k": k, **_score(found, reference)} for k, found in rows.items()],
        "baselines": {name: _score(found, reference) for name, found in others.items()}
        | _ceilings(pairs.store, task, reference),
        "comparisons": _compare(rows, others),
    }
    return result, played[max(lengths)][0]


def _plan_shares(lengths: tuple[int, ...], count: int, config: ReturnsConfig) -> list[list[_Share]]:
    """What each worker plays. A step with few games takes little less time than one with several: few are not divided.

    Each share of the shuffled agent's episodes is that of another shuffle.
    """
    workers = min(config.num_workers, count)
    plan: list[list[_Share]] = [[] for _ in range(workers)]
    num_planned = 0
    for method in (*lengths, *config.baselines):
        beside = method in CLONES or (method in lengths[:-1] and method != 0)
        wanted = min(count, config.num_episodes_beside or count) if beside else count
        parts = min(config.num_shuffles if method == "shuffled" else workers, max(1, wanted // _MANY_EPISODES))
        for part in range(parts):
            plan[num_planned % workers].append((method, wanted, (part, parts)))
            num_planned += 1
    return plan


def _codes(actor: Any, slot: int) -> np.ndarray | None:
    """The first of the codes (k,) that an agent drew for its newest decision."""
    return actor.codes[slot, 0] if isinstance(actor, Agent) else None


def _best_constant(arena: Arena, pairs: SplitPairs, config: ReturnsConfig) -> Callable[[int], Actor]:
    """The constant that returns most on validation episodes."""

    def score(action: np.ndarray) -> float:
        actors = lambda slots: ConstantActor(action)  # noqa: E731
        return float(_returns(arena.play(actors, config.num_choice_episodes, config.seed, "validation")).mean())

    best = max(constant_actions(pairs.store, pairs.train, arena.task), key=score)
    return lambda slots: ConstantActor(best)


def choose_rule(contenders: Contenders, suite: Suite, tasks: Sequence[str], k: int, config: ReturnsConfig) -> DrawRule:
    """The candidate under which the agent at k, and cloning where it takes part, together return most.

    Judged by the mean normalised return (the plain one where there is no reference) on validation episodes.
    """
    scores = np.zeros(len(config.candidate_rules))
    for task in tasks:
        reference = suite.reference(task)
        with Arena(suite, task, min(config.num_environments, config.num_choice_episodes)) as arena:
            for number, rule in enumerate(config.candidate_rules):
                makers: list[Callable[[int], Actor]] = [partial(contenders.agent, k, rule)]
                if "cloning" in contenders.others:
                    makers.append(partial(contenders.others["cloning"], task, rule))
                for actors in makers:
                    found = _returns(arena.play(actors, config.num_choice_episodes, config.seed, "validation"))
                    scores[number] += float(np.mean(found if reference is None else _normalise(found, reference)))
    return config.candidate_rules[int(scores.argmax())]


def _returns(episodes: Sequence[PlayedEpisode]) -> np.ndarray:
    return np.array([episode.episode_return for episode in episodes])


def _ceilings(store: FrameStore, task: str, reference: Reference | None) -> dict[str, Any]:
    """What bounds everybody: the recorded episodes themselves, and the scripted expert of the reference table."""
    ceilings: dict[str, Any] = {}
    recorded = recorded_returns(store, task)
    if len(recorded) > 1:
        ceilings["recorded"] = _score(recorded, reference)
    if reference is not None:
        ceilings["expert"] = {
            "return": reference.expert,
            "return_stderr": reference.expert_stderr,
            "normalised": 1.0,
            "normalised_stderr": reference.expert_stderr / (reference.expert - reference.random),
        }
    return ceilings


def recorded_returns(store: FrameStore, task: str) -> np.ndarray:
    """Returns (E,) of the recorded episodes of a task but the last, which a recording cuts short."""
    if store.rewards is None:
        return np.zeros(0)
    chosen = [number for number, name in enumerate(store.episodes.tasks) if name == task][:-1]
    bounds = [(store.episodes.starts[number], store.episodes.lengths[number]) for number in chosen]
    return np.array([store.rewards[start : start + length].sum(dtype=np.float64) for start, length in bounds])


def _score(returns: np.ndarray, reference: Reference | None) -> dict[str, Any]:
    found = estimate(returns)
    scores: dict[str, Any] = {"return": found.mean, "return_stderr": found.stderr, "num_episodes": found.num_values}
    if reference is not None:
        normalised = estimate(_normalise(returns, reference))
        scores |= {"normalised": normalised.mean, "normalised_stderr": normalised.stderr}
    return {**scores, "episode_returns": returns.tolist()}


def _normalise(returns: np.ndarray, reference: Reference) -> np.ndarray:
    return np.array([reference.normalise(episode_return) for episode_return in returns])


def _compare(rows: dict[int, np.ndarray], others: dict[str, np.ndarray]) -> dict[str, Any]:
    """The full code's return minus each control's, over the same episodes; of the blind controls the best one."""
    full = rows[max(rows)]
    blind = {name: others[name] for name in BLIND if name in others}
    controls = {name: others[name] for name in others if name not in BLIND}
    if 0 in rows and max(rows) > 0:
        controls["k0"] = rows[0]
    comparisons = {name: _difference(full, found) for name, found in controls.items()}
    if blind:
        best = max(blind, key=lambda name: float(blind[name].mean()))
        comparisons["best_blind"] = {"which": best, **_difference(full, blind[best])}
    return comparisons


def _difference(full: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    found = paired_difference(full[: len(other)], other)  # the first episodes, where not all were played
    finite = np.isfinite(found.in_stderrs)
    return {
        "difference": found.mean,
        "stderr": found.stderr,
        "in_stderrs": found.in_stderrs if finite else None,
        "num_episodes": found.num_values,
    }


def _check_tasks(config: ReturnsConfig, suite: Suite, pairs: SplitPairs) -> tuple[str, ...]:
    """The tasks to act in.

    Raises:
        ConfigError: a task that the suite or the data do not have.
        DataError: the suite takes other actions, or shows other frames, than the data hold.
    """
    tasks = config.tasks or pairs.store.tasks
    for task in tasks:
        if task not in suite.tasks or task not in pairs.store.tasks:
            both = set(suite.tasks) & set(pairs.store.tasks)
            hint = (
                f"{did_you_mean(task, both)} (--tasks)"
                if both
                else f"The suite has {', '.join(sorted(suite.tasks))}; the data hold {', '.join(pairs.store.tasks)}. "
                "Give the suite in which the data were recorded (--suite)."
            )
            raise ConfigError(
                f"There is no task {task!r} in both the suite {config.suite} and the data {pairs.store.path}. {hint}"
            )
    there = suite.action_spec, tuple(suite.frame_shape)
    recorded = require_actions(pairs.store), tuple(pairs.store.frame_shape)
    if there != recorded:
        raise DataError(
            f"The suite {config.suite} takes actions {there[0]} and shows frames {there[1]}; the data "
            f"{pairs.store.path} hold {recorded[0]} and {recorded[1]}. Act where the data were recorded, or record in "
            "this suite."
        )
    return tuple(tasks)

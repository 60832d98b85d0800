"""LAFP in games: what is paired, what is refused, and what made-up returns say."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from figures_made_up import made_up
from flexlam.acting.agent import DrawRule
from flexlam.cli.options import overlays_by_name
from flexlam.core.errors import ConfigError
from flexlam.envs.gridworld import GridworldSuite
from flexlam.study import lafp
from flexlam.study.config import LafpConfig, LafpGameConfig, StudyConfig, load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.graph import Step
from flexlam.study.lafp_games import (
    BASELINES,
    INFERRED,
    METHODS,
    ONE_STEP,
    SAMPLED,
    VECTOR,
    games_claims,
    games_steps,
    games_tables,
)
from flexlam.study.lafp_methods import FLOW, REGRESSION, REGRESSION_OWN
from flexlam.study.pieces import suites
from flexlam.study.pieces.acting import AGENT

TINY = load_profile("tiny")
GAME = TINY.lafp.games["gridworld"]
TASKS = GAME.recording.tasks


def with_games(games: dict[str, LafpGameConfig], config: StudyConfig = TINY) -> StudyConfig:
    return config.model_copy(update={"lafp": config.lafp.model_copy(update={"games": games})})


def recorded(**changed: Any) -> LafpGameConfig:
    return GAME.model_copy(update={"recording": GAME.recording.model_copy(update=changed)})


def of_seed(seed: int) -> dict[str, Step]:
    return {step.about["method"]: step for step in games_steps(TINY) if step.about["seed"] == seed}


def test_all_methods_of_a_seed_share_model_labels_tasks_and_episodes() -> None:
    assert len(TASKS) == 2, "so that tasks are paired too"
    for seed in TINY.seeds:
        steps = of_seed(seed)
        assert tuple(steps) == METHODS
        settings = steps[FLOW].settings
        for step in steps.values():
            differ = {name for name in settings.keys() | step.settings if settings.get(name) != step.settings.get(name)}
            assert differ <= {"latents", "rule", "baselines"}
        assert settings["seed"] == seed and tuple(settings["tasks"]) == TASKS
        assert settings["labels"]["fraction"] == 0.1 and settings["prefix_lengths"] == [GAME.lam.lam.num_slots]
        assert len({step.parents[1].name for step in steps.values()}) == 1, "one latent action model"
    assert len({step.name for step in games_steps(TINY)}) == len(METHODS) * len(TINY.seeds)
    assert {step.name for step in games_steps(TINY)} <= {step.name for step in lafp.steps(TINY)}


def test_methods_differ_in_policy_decoder_and_rule() -> None:
    steps = of_seed(0)
    policies = {method: step.parents[2].name for method, step in steps.items()}
    assert policies[REGRESSION] == policies[REGRESSION_OWN]
    assert len({policies[method] for method in (FLOW, ONE_STEP, SAMPLED, INFERRED)}) == 1
    assert len(set(policies.values())) == 3
    policy = steps[VECTOR].parents[2].settings["policy"]
    assert policy["target"] == "vector" and {**policy, "target": "latent"} == steps[FLOW].parents[2].settings["policy"]
    sources = {method: step.settings.get("latents", {"source": "inferred"})["source"] for method, step in steps.items()}
    assert sources == {
        **dict.fromkeys((REGRESSION, INFERRED), "inferred"),
        **dict.fromkeys((REGRESSION_OWN, SAMPLED), "sampled"),
        **dict.fromkeys((FLOW, ONE_STEP, VECTOR), "interpolated"),
    }
    rules = {method: DrawRule.parse(step.settings["rule"]) for method, step in steps.items()}
    assert {method for method, rule in rules.items() if rule.num_steps != 3} == {ONE_STEP}
    assert rules[ONE_STEP].num_steps == 1 and {rule.num_samples for rule in rules.values()} == {1}


def test_baselines_are_measured_once_a_seed() -> None:
    with_baselines = [step.about["method"] for step in games_steps(TINY) if step.settings["baselines"]]
    assert with_baselines == [REGRESSION] * len(TINY.seeds)
    assert tuple(of_seed(0)[REGRESSION].settings["baselines"]) == BASELINES


def test_no_task_means_all_of_the_suite() -> None:
    steps = games_steps(with_games({"every": recorded(tasks=())}))
    assert {tuple(step.settings["tasks"]) for step in steps} == {GridworldSuite.tasks}


@pytest.mark.parametrize(
    ("game", "says"),
    [
        (recorded(tasks=("grid5",)), r"lafp\.games\.odd: .*no task 'grid5'. Did you mean 'grid"),
        (recorded(suite="vizdoom", tasks=("arena",)), "'arena' in vizdoom cannot be normalised.*health_gathering"),
        (recorded(suite="gymnasium:CartPole-v1", tasks=()), "reference: none"),
        (recorded(suite="gridwold"), "Did you mean 'gridworld'"),
        (
            GAME.model_copy(update={"returns": GAME.returns.model_copy(update={"candidate_rules": (DrawRule(),)})}),
            "Leave out candidate_rules",
        ),
    ],
    ids=["no task", "no yardstick", "no yardstick at all", "no suite", "a rule to choose"],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_computed(game: LafpGameConfig, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        lafp.steps(with_games({"odd": game}))


def test_a_missing_package_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    suites.outline.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'flexlam\[metaworld\]'"):
        lafp.steps(with_games({"metaworld": recorded(suite="metaworld", tasks=("reach-v3",))}))


Return = Callable[[str, str, str], float]


def as_in_the_paper(method: str, actor: str, task: str) -> float:
    """Tasks differ by more than methods do: only what is paired by task finds the order."""
    better = method in (FLOW, INFERRED) and actor == AGENT
    return (0.6 if better else 0.5) + (0.3 if task == TASKS[0] else 0.0)


def otherwise(method: str, actor: str, task: str) -> float:
    return -as_in_the_paper(method, actor, task)


def figures(returned: Return) -> list[Measured]:
    """Five seeds of every method."""
    measured = []
    for method in METHODS:
        actors = (AGENT, *BASELINES, "recorded") if method == REGRESSION else (AGENT,)
        about = {"part": ("games",), "game": ("gridworld",), "method": (method,)}
        measured += made_up(returned, about, {"actor": actors, "task": TASKS}, "normalised")
    return measured


def conclusions(returned: Return) -> dict[str, str]:
    def value(part: str, game: str, method: str, actor: str, task: str) -> float:
        return returned(method, actor, task)

    return {claim.id: claim.verdict for claim in games_claims(TINY, Found(figures(value)))}


CLAIMS = {
    "gridworld/flow-over-regression",
    "gridworld/flow-over-cloning",
    "gridworld/several-steps-over-one",
    "gridworld/latent-over-vector",
    "gridworld/interpolated-over-sampled",
}


def test_the_papers_orders_are_recognised_and_so_are_others() -> None:
    assert conclusions(as_in_the_paper) == dict.fromkeys(CLAIMS, "supported")
    assert conclusions(otherwise) == dict.fromkeys(CLAIMS, "contradicted")


def test_regression_takes_the_decoder_that_is_better_over_all_tasks() -> None:
    """Not the better one of each task, which no agent has."""

    def returned(method: str, actor: str, task: str) -> float:
        if method in (REGRESSION, REGRESSION_OWN) and actor == AGENT:
            return 0.9 if (task == TASKS[0]) == (method == REGRESSION) else 0.1
        return 0.6

    assert conclusions(returned)["gridworld/flow-over-regression"] == "supported"

    def with_one_good(method: str, actor: str, task: str) -> float:
        return 0.9 if method == REGRESSION_OWN else as_in_the_paper(method, actor, task)

    assert conclusions(with_one_good)["gridworld/flow-over-regression"] == "contradicted"


def test_the_table_holds_methods_baselines_and_what_was_recorded() -> None:
    def value(part: str, game: str, method: str, actor: str, task: str) -> float:
        return as_in_the_paper(method, actor, task)

    ((title, table),) = games_tables(TINY, Found(figures(value))).items()
    assert title.startswith("gridworld: normalised return with labels of 10 %")
    assert table.header == ("who", *TASKS, "mean")
    agents, others = table.groups
    assert [row[0] for row in agents] == list(METHODS)
    assert [row[0] for row in others] == ["random", "cloning, same labels", "cloning, all labels", "recorded episodes"]
    assert [cell[:4] for cell in agents[METHODS.index(FLOW)][1:]] == ["0.90", "0.60", "0.75"]


def test_games_for_two_cores_are_of_doom_and_an_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed(GridworldSuite):
        tasks = ("basic", "health_gathering", "reach-v3", "door-open-v3")

        def reference(self, task: str) -> Any:
            return GridworldSuite.reference(self, "grid4")

    monkeypatch.setattr(suites, "open_suite", lambda name: Installed())
    suites.outline.cache_clear()
    try:
        steps = games_steps(load_profile("cpu"))
    finally:
        suites.outline.cache_clear()
    assert len(steps) == 2 * 5 * len(METHODS)
    assert {step.settings["suite"] for step in steps} == {"vizdoom", "metaworld"}
    assert {step.settings["num_episodes"] for step in steps} == {10, 20}
    lam = steps[0].parents[1].settings["lam"]
    assert lam["num_slots"] * lam["quantizer"]["dim"] == 256 and lam["prefix_sampling"] == "full"


def test_overlays_lie_over_games_too_and_settings_without_games_are_those_of_before() -> None:
    under = TINY.under(overlays_by_name(("texture",)))
    recordings = (under.lafp.recording, under.lafp.games["gridworld"].recording)
    assert [[overlay.name for overlay in recording.overlays] for recording in recordings] == [["texture"]] * 2
    assert "games" not in LafpConfig().model_dump(mode="json")
    assert LafpConfig.parse(TINY.lafp.model_dump(mode="json")) == TINY.lafp

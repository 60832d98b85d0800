"""The study of LAFP: what it compares, what is paired, and what it concludes from made-up figures."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.core.seeding import derive_seed
from flexlam.study import lafp
from flexlam.study.base import run_study
from flexlam.study.config import StudyConfig, load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.graph import Step
from flexlam.study.lafp import METHODS, PACE
from flexlam.study.lafp_factors import (
    DECODER,
    FROZEN,
    LABELS,
    POLICY,
    PRETRAINING,
    STEPS,
    TAU,
    TUNED,
    WIDTH,
    WITH_HEAD,
    WITHOUT_HEAD,
    factor_steps,
)
from flexlam.study.lafp_games import BASELINES
from flexlam.study.lafp_games import METHODS as GAME_METHODS
from flexlam.study.lafp_methods import FLOW, REGRESSION, REGRESSION_OWN
from flexlam.study.lafp_union import SEQUENCE
from flexlam.study.pieces.acting import AGENT

TINY = load_profile("tiny")
TWO_ROUTES = TINY.model_copy(update={"lafp": TINY.lafp.model_copy(update={"games": {}})})
"""Without games, which have tests of their own."""


def five_seeds() -> StudyConfig:
    """Every factor and the union on five seeds, so that there are verdicts."""
    lafp = TWO_ROUTES.lafp
    factors = lafp.factors.model_copy(update={"num_steps": (1, 3, 20), "num_width_seeds": 5})
    union = lafp.union.model_copy(update={"num_seeds": 5})
    changed = lafp.model_copy(update={"factors": factors, "union": union})
    return TINY.model_copy(update={"seeds": (0, 1, 2, 3, 4), "lafp": changed})


def deciding(step: Step) -> dict[str, Any]:
    settings: dict[str, Any] = step.settings["deciding"]
    return settings


def test_all_methods_of_a_seed_share_model_labels_and_episodes() -> None:
    config = five_seeds()
    steps = [step for step in lafp.steps(config) if step.about["part"] == "main" and step.about["method"] != PACE]
    assert len(steps) == 5 * len(METHODS)
    for seed in config.seeds:
        of_seed = [step for step in steps if step.about["seed"] == seed]
        assert {step.settings["seed"] for step in of_seed} == {seed}
        assert len({step.parents[1].name for step in of_seed}) == 1, "one latent action model"
        assert len({(deciding(step)["label_fraction"], deciding(step)["num_episodes"]) for step in of_seed}) == 1
    assert len({step.name for step in steps}) == len(steps)


def test_time_is_taken_of_both_policies_in_one_step() -> None:
    steps = lafp.steps(five_seeds())
    tried = {(step.about["method"], step.about["seed"]): step for step in steps if step.about["part"] == "main"}
    for seed in range(5):
        parents = tried[PACE, seed].parents
        assert {tried[REGRESSION, seed].name, tried[FLOW, seed].name} <= {parent.name for parent in parents}


def test_a_factor_changes_nothing_else() -> None:
    config = five_seeds()
    steps = lafp.steps(config)
    main = next(s for s in steps if s.about["part"] == "main" and s.about["method"] == FLOW and s.about["seed"] == 0)
    usual = {**deciding(main), "num_episodes": config.lafp.factors.num_episodes}
    for step in (step for step in steps if step.about["part"] == "factor" and step.about["seed"] == 0):
        changed = {name for name, value in deciding(step).items() if value != usual[name]}
        factor = step.about["factor"]
        allowed = {STEPS: {"num_steps"}, DECODER: {"latents"}, TAU: {"latents"}, LABELS: {"label_fraction"}}
        assert changed <= allowed.get(factor, set()), factor
        other = factor == WIDTH or step.about["level"] in (TUNED, WITH_HEAD)
        assert (step.parents[2].name == main.parents[2].name) != other, "the policy"
    same = [s for s in steps if s.about.get("factor") in (DECODER, TAU) and s.about["level"] in ("sampled", "0")]
    assert len({step.name for step in same}) == 5, "tau = 0 is pure noise: computed once a seed"


def test_what_is_not_varied_is_what_was_computed_before() -> None:
    """Frozen policies and models without a head are those of other factors, and are computed once."""
    steps = {
        (step.about["factor"], step.about["level"], step.about["seed"]): step for step in factor_steps(five_seeds())
    }
    for seed in range(5):
        usual = steps[DECODER, "interpolated", seed]
        tuned, head = steps[POLICY, TUNED, seed], steps[PRETRAINING, WITH_HEAD, seed]
        assert steps[POLICY, FROZEN, seed].name == steps[PRETRAINING, WITHOUT_HEAD, seed].name == usual.name
        data, lam, policy = usual.parents
        start = tuned.parents[2].parents
        assert [step.name for step in start] == [data.name, lam.name, policy.name, usual.name], "its very decoder"
        tuning, supervision = tuned.parents[2].settings, head.parents[1].settings["objectives"]
        assert tuning["labels"]["fraction"] == deciding(usual)["label_fraction"] == 0.1
        assert supervision["auxiliary"]["labels"]["fraction"] == supervision["weight"] == 0.1
        assert tuning["training"]["seed"] == head.parents[1].settings["training"]["seed"] == seed, "the same labels"
        without = {**head.parents[1].settings, "objectives": None}
        assert {**lam.settings, "objectives": None} == without, "nothing else"


def test_factors_that_are_switched_off_leave_no_trace() -> None:
    factors = TWO_ROUTES.lafp.factors.model_copy(update={"fine_tuning": None, "action_weight": None})
    config = TWO_ROUTES.model_copy(update={"lafp": TWO_ROUTES.lafp.model_copy(update={"factors": factors})})
    assert {"fine_tuning", "action_weight"}.isdisjoint(factors.model_dump(mode="json"))
    assert type(factors).parse(TWO_ROUTES.lafp.factors.model_dump(mode="json")) == TWO_ROUTES.lafp.factors
    off, on = ({step.name for step in lafp.steps(of)} for of in (config, TWO_ROUTES))
    assert off < on, "no step has another name"
    assert {POLICY, PRETRAINING}.isdisjoint(step.about.get("factor") for step in lafp.steps(config))
    found = figures(config, as_in_the_paper)
    assert {"frozen-over-tuned", "action-head-helps"}.isdisjoint(verdicts(config, found))


def test_episodes_of_tests_are_none_that_were_recorded_or_looked_at() -> None:
    """The purpose is a part of every seed, and the recording of the profile is not the one of the log."""
    seeds = {
        derive_seed(seed, purpose, "two-routes", number)
        for seed in (0, 1)
        for purpose in ("record", "validation", "test")
        for number in range(200)
    }
    assert len(seeds) == 2 * 3 * 200
    explored = 100
    assert all(load_profile(name).lafp.recording.seed != explored for name in ("tiny", "cpu"))


@pytest.mark.parametrize(
    "changed",
    [{"dataset": Path("videos")}, {"suite": "gridworld"}, {"tasks": ()}],
    ids=lambda changed: next(iter(changed)),
)
def test_other_worlds_are_refused(changed: dict[str, Any]) -> None:
    if "dataset" in changed:
        config = TINY.model_copy(update=changed)
    else:
        recording = TINY.lafp.recording.model_copy(update=changed)
        config = TINY.model_copy(update={"lafp": TINY.lafp.model_copy(update={"recording": recording})})
    with pytest.raises(ConfigError, match="two-routes"):
        lafp.steps(config)


Success = Callable[[dict[str, Any], int, int], float]


def as_in_the_paper(about: dict[str, Any], k: int, num_steps: int) -> float:
    """Regression, one step, latents from pure noise, the vector as target, fine-tuning and no action head fail."""
    fails = (
        about["method"] in (REGRESSION, REGRESSION_OWN)
        or (about["method"] == FLOW and num_steps == 1)
        or about.get("level") in ("sampled", "0", TUNED, WITHOUT_HEAD)
        or "vector" in about.get("level", "")
    )
    return 0.1 if fails else 0.96


BETTER = ("sampled", "inferred", "4, vector")


def otherwise(about: dict[str, Any], k: int, num_steps: int) -> float:
    """The other way round."""
    if about["part"] == "union":
        return 0.9 if k > 1 else 0.5
    return 0.7 if num_steps in (1, 20) or about.get("level") in (*BETTER, TUNED, WITHOUT_HEAD) else 0.5


def figures(config: StudyConfig, success: Success, up: float = 0.5, overhead: float = 0.5) -> Found:
    measured = []
    for step in lafp.steps(config):
        about = {**step.about}
        noise = 1e-3 * about["seed"]
        if about["method"] == PACE and about["part"] == "main":
            rows = [
                {"policy": "regression-policy", "k": 2, "num_steps": 1, "ms": 2.0},
                {"policy": "flow-policy", "k": 2, "num_steps": 3, "ms": 2.0 * (1 + overhead + noise)},
            ]
        elif about["method"] == PACE:
            rows = [
                {"policy": "flow-policy", "k": k, "num_steps": number, "ms": k + number}
                for k in config.lafp.union.prefix_lengths
                for number in config.lafp.union.num_steps
            ]
        else:
            rows = [
                {"k": k, "num_steps": number, "success": success(about, k, number) + noise, "up": up + noise}
                | dict.fromkeys(("covered", "decisive", "action_loss", "encoded_action_loss", "distance"), 0.25)
                for k in deciding(step)["prefix_lengths"] or (2,)
                for number in deciding(step)["num_steps"]
            ]
        measured.append(Measured(about, rows))
    return Found(measured)


def verdicts(config: StudyConfig, found: Found) -> dict[str, str]:
    return {claim.id: claim.verdict for claim in lafp.conclude(config, found).claims}


CLAIMS = {
    "regression-stuck",
    "flow-succeeds",
    "flow-overhead",
    "flow-goes-up",
    "flow-goes-down",
    "interpolated-over-sampled",
    "interpolated-not-behind-inferred",
    "three-steps-over-one",
    "three-steps-enough",
    "latent-over-vector",
    "frozen-over-tuned",
    "action-head-helps",
    "short-prefix-enough",
}


def test_what_is_so_is_supported() -> None:
    config = five_seeds()
    assert verdicts(config, figures(config, as_in_the_paper)) == dict.fromkeys(CLAIMS, "supported")


def test_what_is_not_so_is_contradicted() -> None:
    config = five_seeds()
    found = verdicts(config, figures(config, otherwise, up=0.9, overhead=1.5))
    assert found.pop("flow-goes-up") == "supported"
    assert found == dict.fromkeys(CLAIMS - {"flow-goes-up"}, "contradicted")


def test_regression_may_take_the_better_decoder() -> None:
    config = five_seeds()

    def one_way_out(about: dict[str, Any], k: int, num_steps: int) -> float:
        return 0.8 if about["method"] == REGRESSION_OWN else as_in_the_paper(about, k, num_steps)

    assert verdicts(config, figures(config, one_way_out))["regression-stuck"] == "contradicted"


def test_where_nobody_succeeds_no_way_is_claimed() -> None:
    config = five_seeds()
    found = figures(config, lambda about, k, num_steps: 0.0)
    rows = [Measured(entry.about, [{**row, "up": None} for row in entry.rows]) for entry in found.measured]
    outcome = lafp.conclude(config, Found(rows))
    assert {claim.id for claim in outcome.claims} == CLAIMS - {"flow-goes-up", "flow-goes-down"}
    main, factors, _, ways = outcome.tables.values()
    assert [row[2] for row in main.groups[0]] == ["nobody"] * len(METHODS)
    assert {cell for row in ways.groups[0] for cell in row[1:]} == {"nobody"}
    assert {row[2] for group in factors.groups for row in group} == {"nobody"}


def test_tables_and_figures_hold_every_level() -> None:
    config = five_seeds()
    outcome = lafp.conclude(config, figures(config, as_in_the_paper))
    main, factors, union, ways = outcome.tables.values()
    assert [row[0] for row in main.groups[0]] == list(METHODS)
    assert [row[-1] for row in main.groups[0]][:2] == [main.groups[0][0][-1]] * 2, "one network, two decoders"
    assert [group[0][0].split(":")[0] for group in factors.groups] == [
        *(STEPS, WIDTH, DECODER, TAU, LABELS),
        *(POLICY, PRETRAINING),
    ]
    assert [row[0] for row in factors.groups[0]] == [f"{STEPS}: {number}" for number in (1, 3, 20)]
    assert [row[0] for row in union.groups[0]] == ["1", "4"] and union.header[-1] == SEQUENCE
    assert union.groups[0][1][2].startswith("0.96") and "(7.00" in union.groups[0][1][2], "k = 4, 3 steps"
    assert ways.header == union.header and ways.groups[0][1][2].startswith("0.50")
    assert set(outcome.figures) == {"lafp-success.svg", "lafp-milliseconds.svg"}
    assert all("3 steps" in svg and svg.count("<svg") == 1 for svg in outcome.figures.values())
    assert lafp.conclude(config, Found([])).claims == []


def test_seeds_without_the_union_are_concluded_from() -> None:
    config = TWO_ROUTES.model_copy(update={"seeds": (0, 1)})
    found = Found([entry for entry in figures(config, as_in_the_paper).measured if entry.about["seed"] == 1])
    outcome = lafp.conclude(config, found)
    assert "short-prefix-enough" not in {claim.id for claim in outcome.claims} and not outcome.figures


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("study")
    config = TINY.model_copy(update={"num_workers": 1})
    return out, run_study("lafp", config, out, out / "steps", command="flexlam study lafp")


def test_a_tiny_study_runs_whole(finished: tuple[Path, dict[str, Any]]) -> None:
    out, results = finished
    assert results["finished"][0] == results["finished"][1]
    assert {claim["verdict"] for claim in results["claims"]} == {"inconclusive"}
    games = [row for row in results["rows"] if row["part"] == "games"]
    agents = [(row["seed"], row["method"], row["task"]) for row in games if row["actor"] == AGENT]
    tasks = TINY.lafp.games["gridworld"].recording.tasks
    assert set(agents) == set(itertools.product(TINY.seeds, GAME_METHODS, tasks)) and len(set(agents)) == len(agents)
    assert {row["method"] for row in games if row["actor"] in BASELINES} == {REGRESSION}
    assert np.isfinite([row["normalised"] for row in games]).all()
    played = [row for row in results["rows"] if row["method"] != PACE and row["part"] != "games"]
    for row in played:
        shares = [row[name] for name in ("success", "left", "covered", "decisive")]
        assert all(0 <= share <= 1 for share in shares) and row["success"] <= row["left"]
        assert np.isfinite([row["action_loss"], row["encoded_action_loss"], row["distance"]]).all()
    encoded = {
        (row["seed"], row["encoded_action_loss"])
        for row in played
        if row["part"] == "main" and row["method"] == REGRESSION
    }
    assert len(encoded) == 2
    tuned = [row for row in played if row.get("level") == TUNED]
    assert [row["seed"] for row in tuned] == list(TINY.seeds) and [row["num_steps"] for row in tuned] == [3, 3]
    surface = {(row["k"], row["num_steps"]) for row in played if row["part"] == "union" and row["method"] == FLOW}
    assert surface == {(1, 1), (1, 3), (4, 1), (4, 3)}
    paced = [row for row in results["rows"] if row["method"] == PACE]
    assert {row["policy"] for row in paced if row["part"] == "main"} == {"flow-policy", "regression-policy"}
    assert all(row["ms"] > 0 for row in paced)
    assert (out / "lafp-success.svg").exists()


def test_a_finished_study_is_not_computed_again(finished: tuple[Path, dict[str, Any]]) -> None:
    out, results = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    again = run_study("lafp", TINY.model_copy(update={"num_workers": 1}), out, out / "steps", command="again")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("done.json")} == before
    assert json.dumps(again["rows"]) == json.dumps(results["rows"])

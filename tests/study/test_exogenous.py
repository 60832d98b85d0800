"""The study of remedies: what it compares, at which cost, and what it concludes from made-up figures."""

import pytest
import torch

from flexlam.core.errors import ConfigError
from flexlam.envs.gridworld import GridworldSuite
from flexlam.study import exogenous
from flexlam.study.config import ExogenousConfig, FactorsConfig, StudyConfig, WorldPair, load_profile
from flexlam.study.exogenous_errors import CHOSEN_ON, REPORTED
from flexlam.study.exogenous_factors import VARIED, factor_steps, factor_table
from flexlam.study.found import Found, Measured
from flexlam.study.pieces.models import equal_objective_steps, objective_flops
from flexlam.study.pieces.remedies import (
    ACTIONS_FIRST,
    CROSS,
    CROSS_FIRST,
    ENDOGENOUS_FIRST,
    FEATURES,
    FLOW,
    METHODS,
    PLAIN,
    SUPERVISED,
    objectives,
)
from flexlam.training.lam import LamRunConfig
from flexlam.training.objectives.composed import ObjectivesConfig

TINY = load_profile("tiny")
WORLDS = TINY.exogenous.worlds


def five_seeds(factors: FactorsConfig = FactorsConfig(), **worlds: WorldPair) -> StudyConfig:  # noqa: B008
    compared = TINY.exogenous.model_copy(update={"worlds": worlds or WORLDS, "factors": factors})
    return TINY.model_copy(update={"seeds": (0, 1, 2, 3, 4), "exogenous": compared})


def test_remedies_are_chosen_in_one_world_and_reported_in_another() -> None:
    steps = exogenous.steps(five_seeds())
    assert {step.about["method"] for step in steps} == set(METHODS)
    for role, seeds in ((CHOSEN_ON, {0}), (REPORTED, {0, 1, 2, 3, 4})):
        assert {step.about["seed"] for step in steps if step.about["role"] == role} == seeds
    data = {role: {s.parents[0].name for s in steps if s.about["role"] == role} for role in (CHOSEN_ON, REPORTED)}
    assert len(data[CHOSEN_ON]) == len(data[REPORTED]) == 1 and not data[CHOSEN_ON] & data[REPORTED]
    settings = {step.parents[0].settings["recording"]["seed"] for step in steps}
    assert settings == {0, 1}, "other games"


def test_every_model_is_measured_with_the_twin_and_only_some_are_trained_with_it() -> None:
    for step in exogenous.steps(five_seeds()):
        data, twin, lam = step.parents
        games, others = data.settings["recording"], twin.settings["recording"]
        assert others.pop("overlay_seed") is not None and games == others
        reads = step.about["method"] in (CROSS, CROSS_FIRST)
        assert lam.parents == ((data, twin) if reads else (data,))


def test_a_profile_without_worlds_is_refused() -> None:
    with pytest.raises(ConfigError, match="no worlds"):
        exogenous.steps(TINY.model_copy(update={"exogenous": ExogenousConfig()}))


def test_remedies_take_as_much_arithmetic_as_plain_reconstruction() -> None:
    shape, spec, plain = GridworldSuite().frame_shape, GridworldSuite.action_spec, TINY.exogenous.lam
    plain = plain.model_copy(update={"training": plain.training.model_copy(update={"num_steps": 1000})})
    reference = 1000 * objective_flops(plain, shape, spec)
    for method, asked in objectives(TINY.exogenous).items():
        run = plain.model_copy(update={"objectives": asked})
        steps = equal_objective_steps(plain, run, "gridworld")
        assert steps * objective_flops(run, shape, spec) == pytest.approx(reference, rel=2e-3), method
        if method == CROSS:
            assert steps == 1000, "another picture to predict costs nothing"
        if method in (SUPERVISED, CROSS_FIRST):
            assert steps < 950


def test_labelled_transitions_cost_what_their_share_of_the_batch_does() -> None:
    shape, spec, plain = GridworldSuite().frame_shape, GridworldSuite.action_spec, TINY.exogenous.lam

    def cost(batch_size: int) -> float:
        asked = objectives(TINY.exogenous)[SUPERVISED]
        labels = asked.auxiliary.model_copy(update={"batch_size": batch_size})
        return objective_flops(
            plain.model_copy(update={"objectives": ObjectivesConfig(main=asked.main, auxiliary=labels)}), shape, spec
        )

    one, two, three = (cost(size) for size in (8, 16, 24))
    assert two - one == pytest.approx(three - two) and two > one


def test_counting_leaves_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    equal_objective_steps(TINY.exogenous.lam, LamRunConfig(lam=TINY.exogenous.lam.lam), "gridworld")
    assert torch.equal(torch.rand(1), expected)


ACTION = {PLAIN: 1.0, CROSS: 0.2, FEATURES: 0.9, FLOW: 0.8, SUPERVISED: 0.7, CROSS_FIRST: 0.25, ACTIONS_FIRST: 0.15}
LEAK = {PLAIN: 0.7, CROSS: 0.05, FEATURES: 0.5, FLOW: 0.4, SUPERVISED: 0.65, CROSS_FIRST: 0.3, ACTIONS_FIRST: 0.32}


def figures(
    config: StudyConfig,
    action: dict[str, float] = ACTION,
    leak: dict[str, float] = LEAK,
    chosen: dict[str, float] | None = None,
    plain_short: float = 0.3,
    swap: float = 1.0,
) -> Found:
    """`chosen`: action errors where the remedy is chosen; `plain_short`: what plain FlexLAM loses at k = 2."""
    measured = []
    for world in config.exogenous.worlds:
        for role in (CHOSEN_ON, REPORTED):
            errors = action if role == REPORTED or chosen is None else chosen
            for seed in config.seeds if role == REPORTED else config.seeds[:1]:
                for method in METHODS:
                    rows = []
                    for k in (2, 4 if config.exogenous.worlds[world].lam is None else 6):
                        lost = 0.01 * seed + (plain_short if method == PLAIN and k == 2 else 0)
                        error, told = errors[method] + lost, leak[method] * k / 4
                        rows.append(
                            {"k": k, "action_linear_nmse": error + 0.3, "action_mlp_nmse": error}
                            | {"action_given_state_nmse": error + 0.1, "twin_agreement": 0.5, "psnr": 20.0}
                            | {"exogenous_innovation_linear_nmse": 1.0, "exogenous_innovation_mlp_nmse": 1 - told}
                            | {"swap_score": swap * told + 1e-4 * seed}
                        )
                    about = {"world": world, "role": role, "method": method, "seed": seed}
                    measured.append(Measured(about, rows))
    return Found(measured)


def verdicts(config: StudyConfig, found: Found) -> dict[str, str]:
    return {claim.id: claim.verdict for claim in exogenous.conclude(config, found).claims}


def test_a_world_may_have_a_model_of_its_own() -> None:
    lam = TINY.exogenous.lam
    wider = lam.model_copy(update={"lam": lam.lam.model_copy(update={"num_slots": 6})})
    config = five_seeds(own=WORLDS["gridworld"].model_copy(update={"lam": wider}))
    for step in exogenous.steps(config):
        assert step.settings["prefix_lengths"] == [2, 6] and step.parents[2].settings["lam"]["num_slots"] == 6
    assert set(verdicts(config, figures(config)).values()) == {"supported"}


def test_where_the_order_alone_is_asked_for_fewer_methods_are_compared_and_there_are_no_other_claims() -> None:
    config = five_seeds(order=WORLDS["gridworld"].model_copy(update={"only_order": True}))
    assert {step.about["method"] for step in exogenous.steps(config)} == {PLAIN, *ENDOGENOUS_FIRST}
    found = exogenous.conclude(config, figures(config))
    told = {f"order/endogenous-first/{what}" for what in ("full", "short", "plain-gap")} | {"swap-score"}
    assert {claim.id for claim in found.claims} == told
    ((rows,),) = (table.groups for table in found.tables.values())
    assert [row[0] for row in rows] == [PLAIN, *ENDOGENOUS_FIRST]


FACTORS = FactorsConfig(world="gridworld", innovations=(0.1, 2.0), num_slots=(3, 6), num_seeds=1)


def test_one_factor_is_varied_and_all_else_is_as_in_its_world() -> None:
    steps = factor_steps(five_seeds(FACTORS))
    assert len(steps) == 4 * len(VARIED) and {step.about["seed"] for step in steps} == {0}
    whole = WORLDS["gridworld"].reported.model_dump(mode="json")
    for step in steps:
        data, _, lam = step.parents
        recording, num_slots = data.settings["recording"], lam.settings["lam"]["num_slots"]
        (waves,) = recording["overlays"]
        varied = {"innovation": waves["innovation"], "K": num_slots}
        assert varied.pop(step.about["factor"]) == step.about["level"]
        usual = {"innovation": whole["overlays"][0]["innovation"], "K": TINY.exogenous.lam.lam.num_slots}
        assert all(value == usual[factor] for factor, value in varied.items())
        assert {**waves, "innovation": usual["innovation"]} == whole["overlays"][0]
    assert len({step.name for step in steps}) == len(steps)


def test_factors_are_told_in_a_table_of_their_own() -> None:
    config = five_seeds(FACTORS)
    measured = [
        Measured(
            step.about,
            [
                {
                    "k": k,
                    "action_linear_nmse": 0.9,
                    "action_mlp_nmse": step.about["level"] / 10,
                    "action_given_state_nmse": 1,
                }
                | {"exogenous_innovation_linear_nmse": 0.75, "exogenous_innovation_mlp_nmse": 1.5}
                for k in step.settings["prefix_lengths"]
            ],
        )
        for step in factor_steps(config)
    ]
    table = factor_table(config, Found(measured))
    assert [len(group) for group in table.groups] == [2 * len(VARIED), 2 * len(VARIED)]
    assert table.groups[0][0] == ("innovation = 0.1", PLAIN, "0.010", "0.250", "0.010", "0.250")
    assert table.groups[1][-1] == ("K = 6", CROSS_FIRST, "0.600", "0.250", "0.600", "0.250")


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        (FactorsConfig(world="grid"), "worlds are gridworld"),
        (FactorsConfig(world="plain", innovations=(0.1,)), "no waves"),
    ],
)
def test_factors_that_cannot_be_varied_are_refused(factors: FactorsConfig, told: str) -> None:
    pair = WORLDS["gridworld"]
    if factors.world == "plain":
        bare = {name: getattr(pair, name).model_copy(update={"overlays": ()}) for name in ("chosen_on", "reported")}
        config = five_seeds(factors, plain=pair.model_copy(update=bare))
    else:
        config = five_seeds(factors)
    with pytest.raises(ConfigError, match=told):
        factor_steps(config)


def test_what_is_so_is_supported() -> None:
    config = five_seeds()
    assert set(verdicts(config, figures(config)).values()) == {"supported"}


def test_what_is_not_so_is_contradicted() -> None:
    config = five_seeds()
    useless = dict.fromkeys(METHODS, 0.9), dict.fromkeys(METHODS, 0.6)
    found = verdicts(config, figures(config, *useless, plain_short=0.0, swap=-1.0))
    assert found.pop("gridworld/leaks") == "supported"
    assert found.pop("gridworld/endogenous-first/short") == "supported", "it loses nothing, having nothing"
    assert set(found.values()) == {"contradicted"}


def test_the_remedy_is_chosen_without_a_look_at_what_is_reported() -> None:
    config = five_seeds()
    misleading = ACTION | {SUPERVISED: 0.0, FLOW: 0.0}
    claims = exogenous.conclude(config, figures(config, chosen=misleading, leak=dict.fromkeys(METHODS, 0.1))).claims
    said = {claim.id: claim.statement for claim in claims}
    assert SUPERVISED in said["gridworld/halves-action-error/k=2"] or FLOW in said["gridworld/halves-action-error/k=2"]
    assert FLOW in said["gridworld/halves-action-error/k=4"], "of those that take reconstruction's place"
    reported = verdicts(config, figures(config, chosen=misleading, leak=dict.fromkeys(METHODS, 0.1)))
    assert reported["gridworld/halves-action-error/k=4"] == "contradicted"


def test_tables_hold_every_method_and_no_seed_makes_no_claim() -> None:
    config = five_seeds()
    found = exogenous.conclude(config, figures(config))
    (table,) = found.tables.values()
    assert [row[0] for row in table.groups[0]] == list(METHODS)
    assert found.figures.keys() == {"remedies.svg", "swap.svg"}
    for drawn in found.figures.values():
        assert all(method in drawn for method in METHODS) and drawn.count("<use") >= 5 * len(METHODS), "every model"
    assert exogenous.conclude(config, Found([])).claims == []

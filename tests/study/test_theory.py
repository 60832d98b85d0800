"""The theory study: its verdicts follow the figures, and its steps depend on what they should."""

from typing import Any

import numpy as np
import pytest

from flexlam.study.base import run_study
from flexlam.study.config import StudyConfig, load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.pieces.linear import CROSS, OBJECTIVES, RECONSTRUCTION, additive_step, objective_step
from flexlam.study.theory import conclude, steps

TINY = load_profile("tiny")


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyConfig, dict[str, Any]]:
    """The tiny profile in five worlds, enough for verdicts."""
    out = tmp_path_factory.mktemp("theory")
    config = TINY.model_copy(update={"seeds": (0, 1, 2, 3, 4), "num_workers": 1})
    return config, run_study("theory", config, out, out / "steps")


def found_of(results: dict[str, Any], **changed: float) -> Found:
    """The rows of a run, with quantities of remedies or of reconstruction put in their place."""
    rows = []
    for row in results["rows"]:
        noise = np.random.default_rng(row["seed"]).normal(0, 1e-3)
        rows.append({**row, **{name: value + noise for name, value in changed.items() if name in row}})
    return Found([Measured({"seed": row["seed"]}, [row]) for row in rows])


def test_the_theory_holds_in_small_worlds_too(five: tuple[StudyConfig, dict[str, Any]]) -> None:
    verdicts = {claim["id"]: claim["verdict"] for claim in five[1]["claims"]}
    for name in ("trained-objective", "condition", "tight/reconstruction/loses-action", "tight/cross/keeps-action"):
        assert verdicts[name] == "supported", name
    assert verdicts["loose/cross/leaks"] == "contradicted" and verdicts["loose/cross/idle/leaks"] == "supported"
    every = [row["excess"] for row in five[1]["rows"] if "excess" in row]
    assert len(every) == 5 * len(OBJECTIVES) and max(every) < 1e-4


def test_verdicts_follow_the_figures(five: tuple[StudyConfig, dict[str, Any]]) -> None:
    config, results = five

    def verdicts(**changed: float) -> dict[str, str]:
        return {claim.id: claim.verdict for claim in conclude(config, found_of(results, **changed)).claims}

    lost, kept = verdicts(action_given_obs=0.99, leakage=0.9), verdicts(action_given_obs=0.01, leakage=0.01)
    for name, when in (
        ("tight/reconstruction/loses-action", lost),
        ("tight/reconstruction/leaks", lost),
        ("tight/supervised/keeps-action", kept),
        ("tight/supervised/is-tight", kept),
        ("loose/mixed/leaks", lost),
        ("violated/policy/robust/action", kept),
        ("prefix/endogenous-first", kept),
    ):
        other = kept if when is lost else lost
        assert (when[name], other[name]) == ("supported", "contradicted"), name
    assert verdicts(excess=0.01)["trained-objective"] == "contradicted"
    assert verdicts(difference=0.01)["trained-probes"] == "contradicted"
    assert verdicts(agrees=0.5)["condition"] == "contradicted"
    assert verdicts(excess_leakage=0.2)["violated/innovation/cross/leakage"] == "contradicted"


def test_without_a_finished_seed_there_is_no_conclusion() -> None:
    outcome = conclude(TINY, Found([]))
    assert not outcome.claims and not outcome.figures


def test_a_step_is_named_by_its_objective_its_seed_and_the_settings() -> None:
    theory = TINY.theory
    names = [
        objective_step(theory, RECONSTRUCTION, 0).name,
        objective_step(theory, RECONSTRUCTION, 1).name,
        objective_step(theory, CROSS, 0).name,
        objective_step(theory.model_copy(update={"correlations": (0.0, 0.5)}), CROSS, 0).name,
        additive_step(theory, 0).name,
    ]
    assert len(set(names)) == len(names)
    assert objective_step(theory, CROSS, 0).name == names[2]
    assert len({step.name for step in steps(TINY)}) == len(steps(TINY)) == 2 * (2 * len(OBJECTIVES) + 2)

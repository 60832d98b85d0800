"""Conclusions of the studies of a narrow source, on figures made up for the purpose, and whose labels they take."""

from typing import Any

import pytest

from figures_made_up import made_up, verdicts
from flexlam.core.errors import ConfigError
from flexlam.study.config import load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.methods import DROPOUT, FIXED, FIXED_ENSEMBLE, FIXED_OURS, FLEX, OURS
from flexlam.study.narrow import NARROW, UNIFORM, pair, study

CONFIG = load_profile("cpu")
METHODS = (FLEX, OURS, FIXED, DROPOUT, FIXED_OURS, FIXED_ENSEMBLE)


def losses(high: int, cost: dict[str, float]) -> list[Measured]:
    """The narrow source costs a method that much at the largest K, and nothing at others."""

    def value(method: str, origin: str, k: int, labels: int, draw: int, task: str | None) -> float:
        return 1.4 + (cost.get(method, 0.1) if origin == NARROW and k == high else 0.0)

    tested = (None, *CONFIG.narrow.tested)
    about = {"method": METHODS, "origin": (NARROW, UNIFORM)}
    rows = {"k": CONFIG.narrow.prefix_lengths, "labels": CONFIG.narrow.label_counts, "draw": (0, 1), "task": tested}
    return made_up(value, about, rows)


def test_a_gain_at_full_length_is_seen_and_so_is_that_the_control_has_it_too() -> None:
    found = verdicts(study().conclude, CONFIG, losses(16, {FIXED: 0.3}))
    assert found["full-length-gain"] == found["non-inferior"] == found["smaller-gap"] == "supported"
    control = "flexlam/fixed-k-+-prefix"
    assert found[f"full-length-gain/{control}"] == "inconclusive", "as good, not better"
    found = verdicts(study().conclude, CONFIG, losses(16, {FLEX: 0.3}))
    assert found["full-length-gain"] == found["non-inferior"] == found["smaller-gap"] == "contradicted"


def test_labels_come_from_the_source_and_tests_from_the_other_tasks() -> None:
    for narrow, made in ((CONFIG.narrow, study()), (CONFIG.narrow_pair, pair())):
        fits = [step for step in made.steps(CONFIG) if step.kind == "translators"]
        by_origin: dict[str, set[Any]] = {NARROW: set(), UNIFORM: set()}
        for step in fits:
            by_origin[step.about["origin"]].add(step.settings["source"])
            assert tuple(step.settings["tested"]) == narrow.tested and narrow.source not in narrow.tested
        assert by_origin == {NARROW: {narrow.source}, UNIFORM: {None}}
        assert set(narrow.tested) | {narrow.source} <= set(narrow.recording.tasks)
    assert (
        CONFIG.narrow.source == "arena" and len(CONFIG.narrow.recording.tasks) == 12 and len(CONFIG.narrow.tested) == 11
    )


def test_tasks_below_random_are_counted() -> None:
    acting = CONFIG.narrow.model_copy(update={"acting_tasks": ("basic", "my_way_home")})
    config = CONFIG.model_copy(update={"narrow": acting})

    def value(method: str, origin: str, actor: str, k: int, task: str) -> float:
        return -0.5 if method == FIXED and task == "basic" else 0.5

    about = {"method": (FLEX, FIXED), "origin": (NARROW, UNIFORM)}
    rows = {"actor": ("agent",), "k": acting.prefix_lengths, "task": acting.acting_tasks}
    returns = made_up(value, about, rows, "normalised", noise=0.01)
    claims = {claim.id: claim for claim in study().conclude(config, Found(losses(16, {}) + returns)).claims}
    claim = claims["fewer-tasks-below-random"]
    assert claim.effect == -1 and claim.unit == "tasks" and claim.verdict == "supported"
    with pytest.raises(ConfigError, match="label_noise"):
        study().steps(config.model_copy(update={"label_noise": 0.1}))

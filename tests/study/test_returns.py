"""Conclusions about returns, budgets and selection, on figures made up for the purpose, and who acts where."""

import numpy as np
import pytest

from figures_made_up import made_up, verdicts
from flexlam.core.errors import ConfigError
from flexlam.study import budget, returns, selection
from flexlam.study.config import load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.methods import FIXED, FLEX

CONFIG = load_profile("cpu")
TASKS = CONFIG.acting.tasks


def agents(by_k: dict[int, float], fixed: float) -> list[Measured]:
    about = {"method": (FLEX,)}
    rows = {"actor": ("agent",), "k": tuple(by_k), "task": TASKS}
    flex = made_up(lambda method, actor, k, task: by_k[k], about, rows, "normalised")
    others = made_up(lambda method, actor, k, task: fixed, {"method": (FIXED,)}, rows, "normalised")
    return flex + others


def baselines(levels: dict[str, float]) -> list[Measured]:
    rows = {"actor": tuple(levels), "task": TASKS}
    return made_up(lambda method, actor, task: levels[actor], {"method": (FLEX,)}, rows, "normalised")


def test_returns_are_compared_with_fixed_k_and_with_cloning() -> None:
    levels = {"random": 0.0, "cloning": 0.9, "cloning_same_labels": 0.4, "idm_cloning": 0.7}
    figures = agents({1: 0.6, 4: 0.6, 16: 0.6}, 0.62) + baselines(levels)
    found = verdicts(returns.conclude, CONFIG, figures)
    assert found == {
        "return-non-inferior": "supported",
        "video-helps/cloning-same-labels": "supported",
        "video-helps/idm-cloning": "contradicted",
    }
    behind = agents({1: 0.6, 4: 0.5, 16: 0.6}, 0.62) + baselines(levels)
    assert verdicts(returns.conclude, CONFIG, behind)["return-non-inferior"] == "contradicted"
    table = next(iter(returns.conclude(CONFIG, Found(figures)).tables.values())).to_markdown()
    assert "cloning, same labels | 0.40" in table and "| FlexLAM, k = 16 | 0.60" in table


def test_a_quarter_of_the_slots_keeps_its_return_or_does_not() -> None:
    def figures(quarter: float) -> list[Measured]:
        milliseconds = made_up(lambda method, k: 3.0 * k, {"method": (FLEX,)}, {"k": (1, 4, 16)}, "mean_ms")
        return agents({1: 0.1, 4: quarter, 16: 0.8}, 0.5) + milliseconds

    good = {"quarter-keeps-return": "supported", "quarter-is-faster": "supported"}
    assert verdicts(budget.conclude, CONFIG, figures(0.76)) == good
    assert verdicts(budget.conclude, CONFIG, figures(0.6)) == {**good, "quarter-keeps-return": "contradicted"}
    tables = budget.conclude(CONFIG, Found(figures(0.76))).tables
    assert "| 4 | 0.76 ± 0.00 | 12.0 ± 0.0 | 4.00× |" in next(iter(tables.values())).to_markdown()


def test_a_loss_that_foretells_returns_is_recognised() -> None:
    def figures(sign: int) -> list[Measured]:
        generator, measured = np.random.default_rng(0), []
        for seed in range(5):
            for method, lengths in ((FLEX, (1, 4, 16)), *((FIXED, (k,)) for k in (1, 4, 16))):
                rows = []
                for k in lengths:
                    loss = generator.normal(1.5, 0.2)
                    for task in TASKS:
                        score = sign * -loss + generator.normal(0, 0.01)
                        entry = {"actor": "agent", "k": k, "task": task}
                        rows.append({**entry, "validation_loss": loss, "normalised": score})
                measured.append(Measured({"method": method, "seed": seed}, rows))
        return measured

    assert verdicts(selection.conclude, CONFIG, figures(1)) == {"loss-predicts-return": "supported"}
    assert verdicts(selection.conclude, CONFIG, figures(-1)) == {"loss-predicts-return": "contradicted"}


def test_agents_of_a_seed_share_episodes_and_only_flexlam_brings_the_baselines() -> None:
    found = [step for step in returns.steps(CONFIG) if step.about["seed"] == CONFIG.seeds[0]]
    assert {step.settings["seed"] for step in found} == {CONFIG.seeds[0]}
    assert {tuple(step.settings["tasks"]) for step in found} == {TASKS}
    by_method = [(step.about["method"], bool(step.settings["baselines"])) for step in found]
    assert by_method == [(FLEX, True), (FIXED, False), (FIXED, False), (FIXED, False)]
    assert [step.name for step in selection.steps(CONFIG)] == [step.name for step in returns.steps(CONFIG)]
    with pytest.raises(ConfigError, match="need tasks to act in"):
        returns.steps(CONFIG.model_copy(update={"acting": CONFIG.acting.model_copy(update={"tasks": ()})}))

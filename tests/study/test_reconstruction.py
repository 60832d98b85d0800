"""Conclusions of the study of reconstruction, on figures made up for the purpose, and its share in another's models."""

import numpy as np

from flexlam.study import tradeoff
from flexlam.study.config import load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.methods import FIXED, FLEX
from flexlam.study.reconstruction import conclude, steps

CONFIG = load_profile("cpu")


def made_up(flex: dict[int, float], fixed: dict[int, float]) -> list[Measured]:
    generator = np.random.default_rng(0)
    measured = []
    for seed in range(5):
        for method, table in ((FLEX, flex), (FIXED, fixed)):
            rows = [{"k": k, "psnr": psnr + generator.normal(0, 0.02), "ssim": 0.4} for k, psnr in table.items()]
            measured.append(Measured({"method": method, "seed": seed}, rows))
    return measured


def verdicts(flex: dict[int, float], fixed: dict[int, float]) -> dict[str, str]:
    return {claim.id: claim.verdict for claim in conclude(CONFIG, Found(made_up(flex, fixed))).claims}


def test_verdicts_follow_the_figures() -> None:
    fixed = {1: 22.5, 4: 22.8, 16: 23.0}
    good = verdicts({0: 21.0, 1: 22.4, 4: 22.8, 16: 22.9}, fixed)
    assert good == {"prefixes-carry": "supported", "more-is-better": "supported", "decodes-as-fixed": "supported"}
    bad = verdicts({0: 22.5, 1: 22.4, 4: 22.4, 16: 22.0}, fixed)
    assert set(bad.values()) == {"contradicted"}


def test_it_shares_the_models_of_the_tradeoff() -> None:
    def models(found: list[tradeoff.Step]) -> set[str]:
        return {parent.name for step in found for parent in step.parents if parent.kind == "lam"}

    ours, theirs = models(steps(CONFIG)), models(tradeoff.steps(CONFIG))
    assert ours < theirs and len(ours) == 4 * len(CONFIG.seeds)


def test_of_no_seed_there_are_no_claims() -> None:
    outcome = conclude(CONFIG, Found([]))
    assert outcome.claims == [] and outcome.figures == {}

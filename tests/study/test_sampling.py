"""Conclusions of the study of p(k), on figures made up for the purpose."""

import numpy as np

from flexlam.study.config import load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.sampling import FAMILIES, PAPERS, conclude, steps

CONFIG = load_profile("cpu")


def made_up(offsets: dict[str, float]) -> list[Measured]:
    generator = np.random.default_rng(0)
    measured = []
    for seed in range(5):
        of_seed = generator.normal(1.4, 0.05)
        for family in FAMILIES:
            rows = [
                {
                    **{"k": k, "labels": count, "draw": 0},
                    "action_loss": of_seed + offsets.get(family, 0.0) + generator.normal(0, 0.004),
                }
                for k in CONFIG.prefix_lengths
                for count in CONFIG.label_counts
            ]
            measured.append(Measured({"method": family, "seed": seed}, rows))
    return measured


def test_each_family_is_compared_with_the_papers() -> None:
    claims = conclude(CONFIG, Found(made_up({"powers-of-two": -0.03, "short": 0.03}))).claims
    found = {claim.id.removeprefix(f"better-than-{PAPERS}/"): claim.verdict for claim in claims}
    assert found.keys() == set(FAMILIES) - {PAPERS} and "full" not in FAMILIES
    assert found["powers-of-two"] == "supported" and found["short"] == "contradicted"
    assert found["long"] == "inconclusive"


def test_every_family_is_trained_and_fitted_alike() -> None:
    found = steps(CONFIG)
    assert len(found) == len(FAMILIES) * len(CONFIG.seeds)
    settings = [{key: value for key, value in step.settings.items() if key != "seed"} for step in found]
    assert all(one == settings[0] for one in settings)


def test_of_no_seed_there_are_no_claims() -> None:
    assert conclude(CONFIG, Found([])).claims == []

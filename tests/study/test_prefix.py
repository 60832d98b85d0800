"""Conclusions of the study of prefixes, on figures made up for the purpose."""

import numpy as np

from figures_made_up import made_up, verdicts
from flexlam.study.config import load_profile
from flexlam.study.prefix import conclude, steps

CONFIG = load_profile("cpu")
ROWS = {"k": (0, 1, 2, 4, 8, 16), "labels": CONFIG.label_counts, "draw": (0, 1)}


def test_verdicts_follow_the_figures() -> None:
    falling = made_up(lambda method, k, labels, draw: 1.5 - 0.1 * np.log2(k + 1), {"method": ("FlexLAM",)}, ROWS)
    assert set(verdicts(conclude, CONFIG, falling).values()) == {"supported"}
    rising = made_up(lambda method, k, labels, draw: 1.5 + 0.1 * np.log2(k + 1), {"method": ("FlexLAM",)}, ROWS)
    assert set(verdicts(conclude, CONFIG, rising).values()) == {"contradicted"}


def test_every_reported_prefix_is_read() -> None:
    assert {tuple(step.settings["prefix_lengths"]) for step in steps(CONFIG)} == {ROWS["k"]}

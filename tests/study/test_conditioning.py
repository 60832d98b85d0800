"""Conclusions of the study of what the translator reads, on figures made up for the purpose."""

from figures_made_up import made_up, verdicts
from flexlam.study.conditioning import ACTION, CODE, FRAME, conclude, steps
from flexlam.study.config import load_profile

CONFIG = load_profile("cpu")


def test_verdicts_follow_the_figures() -> None:
    def figures(levels: dict[str, float]) -> dict[str, str]:
        rows = {"k": (16,), "labels": CONFIG.label_counts, "draw": (0, 1)}
        made = made_up(lambda method, k, labels, draw: levels[method], {"method": tuple(levels)}, rows)
        return verdicts(conclude, CONFIG, made)

    assert set(figures({CODE: 1.5, ACTION: 1.3, FRAME: 1.4}).values()) == {"supported"}
    assert set(figures({CODE: 1.3, ACTION: 1.5, FRAME: 1.4}).values()) == {"contradicted"}


def test_translators_differ_in_what_they_read_alone() -> None:
    read = {
        (s.about["method"], s.settings["translator"]["use_prev_action"], s.settings["translator"]["use_obs"])
        for s in steps(CONFIG)
    }
    assert read == {(CODE, False, False), (ACTION, True, False), (FRAME, True, True)}

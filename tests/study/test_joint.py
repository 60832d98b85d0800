"""Conclusions of the study of joint alignment, on figures made up for the purpose."""

from figures_made_up import made_up, verdicts
from flexlam.study.config import load_profile
from flexlam.study.found import Measured
from flexlam.study.joint import FROZEN, IDM, JOINT, conclude
from flexlam.study.methods import FIXED, FLEX

CONFIG = load_profile("cpu")


def figures(idm: float, table: dict[tuple[str, str], float]) -> list[Measured]:
    models = made_up(
        lambda method, alignment, k: table[method, alignment],
        {"method": (FLEX, FIXED), "alignment": (FROZEN, JOINT)},
        {"k": (max(CONFIG.prefix_lengths),)},
    )
    return models + made_up(lambda method: idm, {"method": (IDM,)}, {})


def test_the_papers_picture_is_recognised_and_its_opposite_too() -> None:
    papers = {(FLEX, FROZEN): 1.3, (FIXED, FROZEN): 1.3, (FLEX, JOINT): 0.8, (FIXED, JOINT): 0.9}
    found = verdicts(conclude, CONFIG, figures(1.1, papers))
    assert set(found.values()) == {"supported"} and len(found) == 5
    opposite = {(FLEX, FROZEN): 1.0, (FIXED, FROZEN): 1.0, (FLEX, JOINT): 1.3, (FIXED, JOINT): 1.2}
    assert set(verdicts(conclude, CONFIG, figures(1.1, opposite)).values()) == {"contradicted"}

"""The map of where the claim holds: one factor at a time, and conclusions on figures made up for the purpose."""

from pathlib import Path

from figures_made_up import made_up, verdicts
from flexlam.study.config import load_profile
from flexlam.study.map import conclude, steps, variations
from flexlam.study.methods import DROPOUT, FIXED, FIXED_OURS, FLEX, OURS
from flexlam.study.profiles import CONFIRMED

CONFIG = load_profile("cpu").model_copy(update={"seeds": (0,)})


def test_each_variation_changes_one_thing_and_runs_on_no_confirming_task() -> None:
    base = CONFIG.model_dump(exclude={"lam": {"lam": {"encoder", "decoder"}}})
    seen = set()
    for name, varied in variations(CONFIG).items():
        other = varied.model_dump(exclude={"lam": {"lam": {"encoder", "decoder"}}})
        changed = tuple(key for key in base if base[key] != other[key])
        assert len(changed) == (name != "as it is"), name
        seen.add(changed)
        assert not set(varied.explored.tasks) & set(CONFIRMED)
    assert seen == {(), ("lam",), ("explored",), ("label_noise",)}
    assert len({step.name for step in steps(CONFIG)}) == 5 * len(variations(CONFIG))


def test_of_a_users_dataset_there_is_no_other_recording() -> None:
    own = CONFIG.model_copy(update={"dataset": Path("mine")})
    left_out = variations(CONFIG).keys() - variations(own).keys()
    assert {"expert alone", "random behaviour", "under flicker"} <= left_out and "K = 8" not in left_out


def test_verdicts_follow_the_figures() -> None:
    config = CONFIG.model_copy(update={"seeds": tuple(range(5))})

    def loss(method: str, factor: str, labels: int, draw: int) -> float:
        gain = 0.2 if factor == "under flicker" and method in (FLEX, OURS) else 0.0
        return 1.5 - gain if method != FIXED_OURS else 1.4

    about = {"method": (FLEX, OURS, FIXED, DROPOUT, FIXED_OURS), "factor": tuple(variations(CONFIG))}
    found = verdicts(conclude, config, made_up(loss, about, {"labels": (32, 2048), "draw": (0, 1)}))
    assert found["superior-loose-few/under-flicker"] == "supported"
    assert found["superior-loose-few/under-flicker/flexlam-ours/fixed-k-+-our-translator"] == "supported"
    assert found["superior-loose-few/K-=-8"] == "inconclusive"
    assert found["superior-loose-few/K-=-8/flexlam-ours/fixed-k-+-our-translator"] == "contradicted"

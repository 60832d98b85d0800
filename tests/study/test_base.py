import json
from pathlib import Path

import pytest

from flexlam.study.base import differing
from flexlam.study.config import load_profile

COMMITTED = sorted((Path(__file__).parents[2] / "results").glob("*-cpu/results.json"))


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.parent.name)
def test_committed_results_are_those_of_the_profile_as_it_stands(file: Path) -> None:
    """Or nobody could hold a run against them."""
    assert differing(json.loads(file.read_text())["config"], load_profile("cpu").model_dump(mode="json")) == []


def test_settings_that_came_later_have_their_defaults() -> None:
    now = load_profile("tiny").model_dump(mode="json")
    before = json.loads(json.dumps(now))
    del before["store"]["fit"], before["num_workers"]
    assert differing(before, now) == []
    before["store"]["codec"], before["margin"] = "webp", 1.0
    assert differing(before, now) == ["margin", "store"]
    assert differing({"no such": 1}, now) != []
    del before["exogenous"]
    elsewhere = now | {"exogenous": {**now["exogenous"], "num_labels": 1}}
    assert differing(before, elsewhere) == ["margin", "store"], "a group that came later is of another study"

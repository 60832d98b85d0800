from pathlib import Path

import pytest

from flexlam.presets import fidelity
from flexlam.presets.base import Preset, load_preset
from flexlam.presets.fidelity import BUILT, SOURCES, page, settings

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"


def test_every_setting_has_a_source_and_every_source_a_setting() -> None:
    assert set(settings()) == set(SOURCES)
    assert {mark for mark, _ in SOURCES.values()} == {"paper", "inferred", "ours"}
    assert {mark for _, mark, _ in BUILT} == {"paper", "inferred", "ours"}


def test_acting_is_shown_and_what_repeats_another_stage_is_not() -> None:
    shown = settings()
    assert shown["policy.policy.context_frames"] == 34
    assert shown["returns.translator.use_prev_action"] is False
    assert not any(name.startswith(("returns.labels", "joint.translator", "latency.rule")) for name in shown)


def test_a_setting_that_no_longer_repeats_another_stage_wants_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(name: str) -> Preset:
        preset = load_preset(name)
        return preset.model_copy(update={"returns": preset.returns.model_copy(update={"draw": 1})})

    monkeypatch.setattr(fidelity, "load_preset", changed)
    assert set(settings()) - set(SOURCES) == {"returns.draw"}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python -m flexlam.presets.fidelity > docs/fidelity.md"

from pathlib import Path

from flexlam.presets.fidelity import SOURCES, page, settings

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"


def test_every_setting_has_a_source_and_every_source_a_setting() -> None:
    assert set(settings()) == set(SOURCES)
    assert {mark for mark, _ in SOURCES.values()} == {"paper", "inferred", "ours"}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python -m flexlam.presets.fidelity > docs/fidelity.md"

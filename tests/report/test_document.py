import re

import pytest

from flexlam.report.document import date, document, header, made, marked, section, tables, verdict_box
from flexlam.report.table import Table
from outline import check_loads_nothing, outline

HOSTILE = "<script>alert('x')</script>&\"*bold*"


def test_a_document_is_whole_and_loads_nothing() -> None:
    page = document("a title", header(("flexlam", "today"), ("One.", "Two.")), [section("A", "note", "<p>body</p>")])
    check_loads_nothing(page)
    assert "<title>a title</title>" in page and "<h1>One.</h1>" in page and '<p class="lead">Two.</p>' in page
    assert page.count("<h2>") == 2 and "Responsible use" in page and "never use such frames as evidence" in page


def test_what_comes_from_outside_is_escaped_everywhere() -> None:
    parts = [
        section(HOSTILE, HOSTILE, ""),
        verdict_box("good", HOSTILE, HOSTILE),
        made([HOSTILE], HOSTILE, {HOSTILE: HOSTILE}),
        tables(Table((HOSTILE, HOSTILE), (((HOSTILE, HOSTILE),),))),
    ]
    page = document(HOSTILE, header((HOSTILE,), (HOSTILE, HOSTILE)), parts)
    assert not any(tag == "script" for tag, _ in outline(page).tags) and page.count("alert(") > 10


def test_asterisks_mark_bold_and_a_single_one_does_not() -> None:
    assert marked("from *25.0* to *27.0* dB & more") == "from <b>25.0</b> to <b>27.0</b> dB &amp; more"
    assert marked("2 * 3") == "2 * 3"


def test_a_header_leaves_out_what_is_empty() -> None:
    assert header(("a", "", "b"), ("One.",)) == '<header><p class="overline">a · b</p><h1>One.</h1></header>'


def test_how_it_was_made_tells_the_command_and_leaves_out_what_is_unknown() -> None:
    told = made(["flexlam", "eval", "my run"], "2025-11-20T10:14:03+01:00", {"cores": 0, "gpu": None, "note": ""})
    words = re.sub(r"<[^>]+>", " ", told)
    assert "flexlam eval &#x27;my run&#x27;" in words and "20 November 2025, 09:14 UTC" in words
    assert "cores" in words and "gpu" not in words and "note" not in words
    assert "<pre>flexlam eval probes</pre>" in made("flexlam eval probes", "today", {})


@pytest.mark.parametrize("created", ["yesterday", ""])
def test_a_date_that_is_none_stays(created: str) -> None:
    assert date(created) == created


def test_tables_that_are_none_are_passed_over() -> None:
    table = Table(("a",), ((("b",),),))
    assert tables(None, table, None).count("<table>") == 1 and tables(None) == ""


def test_a_verdict_begins_with_a_capital() -> None:
    assert "<strong>Tells of FSQ</strong>" in verdict_box("warn", "tells of FSQ", "why")
    assert verdict_box("plain", "", "") == '<div class="verdict plain"><strong></strong><span></span></div>'

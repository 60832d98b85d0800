import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexlam.core.errors import DataError, OutputError
from flexlam.report.leakage import MoveElsewhere, leakage_figures, probes_table, reactions_table, write_leakage
from outline import check_loads_nothing, outline


def row(k: int) -> dict[str, Any]:
    read = {
        f"{target}_{kind}_nmse{end}": value
        for target, value_of in (("action", 1 - k / 5), ("exogenous_innovation", 1 - k / 50))
        for kind in ("linear", "mlp")
        for end, value in (("", value_of), ("_stderr", 0.0125))
    }
    right = {"action_linear_accuracy": 0.25 + k / 8, "action_mlp_accuracy": 0.3 + k / 8}
    reactions = {"swap_score": k / 20, "cut_explained": k / 10, "delta_psnr": k / 4, "bits_used": 2.0 * k}
    return {"k": k, "bits": 3.0 * k, "psnr": 20.0, **read, **right, **reactions}


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "probes",
        "command": "flexlam eval probes vizdoom-tiny",
        "created": "2025-11-20T10:14:03+00:00",
        "config_hash": "3f9a0c11d2e4b7a8",
        "data_hash": "b1c2d3e4f5a60718",
        "parent_hashes": {"lam": "77aa12bc90de34f1"},
        "machine": {"processor": "Example 9000", "cores": 2, "accelerator": None},
        "rows": [row(k) for k in (0, 1, 2, 4)],
        "chance": {"action_accuracy": 0.25},
        "verdict": "tells of the action",
        "reason": "8% of what is new in the background can be read from the codes, and 80% of the action",
        "num_test": 120,
        "twin": False,
    }


@pytest.fixture
def moves() -> list[MoveElsewhere]:
    frames = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    return [MoveElsewhere("basic", *frames), MoveElsewhere("my_way_home", *frames[::-1])]


# ---- tables


def test_what_was_read_stands_in_a_column_each_with_guessing_below(results: Any) -> None:
    table = probes_table(results["rows"], results["chance"])
    assert table.header == (
        "slots",
        "action, linear",
        "action, network",
        "exogenous innovation, linear",
        "exogenous innovation, network",
        "right, %, linear",
        "right, %, network",
    )
    lines, (guess,) = table.groups
    assert lines[3] == ("k = 4", "0.200 ± 0.013", "0.200 ± 0.013", "0.920 ± 0.013", "0.920 ± 0.013", "75.0", "80.0")
    assert guess == ("guessing", *("1.000",) * 4, "25.0", "25.0")


def test_what_nobody_measured_has_no_column_and_a_gap_is_marked(results: Any) -> None:
    for each in results["rows"]:
        for key in [key for key in each if "mlp" in key or "accuracy" in key]:
            del each[key]
    del results["rows"][0]["action_linear_nmse"]
    table = probes_table(results["rows"], {})
    assert table.header == ("slots", "action, linear", "exogenous innovation, linear")
    assert table.groups[0][0] == ("k = 0", "–", "1.000 ± 0.013") and table.groups[1][0][1:] == ("1.000", "1.000")
    assert probes_table([{"k": 0}], {}).header == ("slots",)


def test_reactions_stand_in_their_order_and_what_is_no_number_is_marked(results: Any) -> None:
    table = reactions_table(results["rows"])
    assert table.header == ("slots", "swap score", "cut explained", "ΔPSNR, dB", "bits used")
    assert table.groups[0][3] == ("k = 4", "0.200", "0.400", "1.000", "8.0")
    rows = [{"k": 0, "endogenous_error": float("nan")}, {"k": 1, "endogenous_error": 0.5, "twin_score": 0.25}]
    assert reactions_table(rows).groups[0] == (("k = 0", "–", "–"), ("k = 1", "0.250", "0.500"))


# ---- the page


def page_of(path: Path, results: Any, moves: list[MoveElsewhere]) -> str:
    write_leakage(path / "page.html", results, moves)
    return (path / "page.html").read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_tells_the_figures(results: Any, moves: Any, tmp_path: Path) -> None:
    page = page_of(tmp_path, results, moves)
    check_loads_nothing(page)
    words = re.sub(r"<[^>]+>", "", page)
    assert "This model tells of the action." in words and "At k = 4, 8% of what is new" in words
    for told in (
        "0.920",
        "75.0",
        "flexlam eval probes vizdoom-tiny",
        "20 November 2025, 10:14 UTC",
        "77aa12bc90de34f1",
    ):
        assert told in words
    assert page.count("<svg") == 2 and page.count("<img") == 2 * (2 * 4 - 1) and "my_way_home" in words
    ids = [a["id"] for _, a in outline(page).tags if "id" in a]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        ("tells of the action", "good"),
        ("hardly tells of pasted motion", "good"),
        ("tells of neither", "warn"),
        ("tells of the background, not of the action", "bad"),
        ("tells of the background", "bad"),
        ("tells of anything that moves", "bad"),
    ],
)
def test_a_verdict_has_its_colour(results: Any, tmp_path: Path, verdict: str, state: str) -> None:
    assert f'<div class="verdict {state}">' in page_of(tmp_path, results | {"verdict": verdict}, [])


def test_every_verdict_that_is_passed_has_been_thought_of() -> None:
    from flexlam.evaluate import probes
    from flexlam.report.leakage import _STATES

    source = Path(probes.__file__).read_text()
    assert all(f'"{verdict}"' in source for verdict in _STATES)


def test_a_page_of_video_alone_has_reactions_only(results: Any, tmp_path: Path) -> None:
    results["rows"] = [
        {key: value for key, value in each.items() if not key.startswith(("action", "exo"))} for each in results["rows"]
    ]
    page = page_of(tmp_path, results | {"chance": {}}, [])
    outline(page)
    assert page.count("<svg") == 1 == len(leakage_figures(results["rows"])) and "<h2>Pictures" not in page
    assert page.count("<table>") == 1 and "guessing" not in page


def test_what_comes_from_outside_is_escaped(results: Any, moves: list[MoveElsewhere], tmp_path: Path) -> None:
    hostile = "<script>alert('x')</script><img src=x onerror=\"y\">&$\\frac{"
    for key in ("command", "created", "config_hash", "data_hash", "verdict", "reason"):
        results[key] = hostile
    results |= {"machine": {hostile: hostile}, "parent_hashes": {hostile: hostile}}
    strips = [MoveElsewhere(hostile, *(getattr(moves[0], name) for name in ("obs", "next_obs", "own", "other")))]
    tags = outline(page_of(tmp_path, results, strips)).tags
    assert not any(tag == "script" for tag, _ in tags)
    assert all("onerror" not in attributes for _, attributes in tags)


def test_frames_that_cannot_be_pictured_or_places_that_cannot_be_written_are_refused(
    results: Any, moves: list[MoveElsewhere], tmp_path: Path
) -> None:
    bad = MoveElsewhere("basic", moves[0].obs, moves[0].next_obs, moves[0].own[:4], moves[0].other)
    with pytest.raises(DataError, match="'basic'"):
        write_leakage(tmp_path / "page.html", results, [bad])
    with pytest.raises(OutputError, match="cannot be written"):
        write_leakage(Path("/proc/page.html"), results, [])
    assert list(tmp_path.iterdir()) == []


def test_the_same_inputs_give_the_same_page(results: Any, moves: list[MoveElsewhere], tmp_path: Path) -> None:
    assert page_of(tmp_path, results, moves) == page_of(tmp_path, copy.deepcopy(results), moves)

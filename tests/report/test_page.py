import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flexlam.core.errors import ConfigError, DataError
from flexlam.report.page import report_html, write_report
from flexlam.report.sweeps import PrefixSweep
from outline import check_loads_nothing, outline

SECTIONS = ("How it acts", "Clips", "How fast it decides", "What it expects")


@pytest.fixture
def page(results: Any, sweeps: Any, metrics: Any, health: Any) -> str:
    return report_html(results, sweeps, metrics, health)


@pytest.fixture
def acting_page(
    results: Any, sweeps: Any, metrics: Any, health: Any, returns: Any, latency: Any, clip: Any, prediction: Any
) -> str:
    everything = results | {"returns": returns, "latency": latency}
    return report_html(everything, sweeps, metrics, health, clips=[clip], predictions=[prediction])


@pytest.mark.parametrize("which", ["page", "acting_page"])
def test_the_page_loads_nothing(which: str, request: pytest.FixtureRequest) -> None:
    check_loads_nothing(request.getfixturevalue(which))


def test_ids_are_unique_and_references_meet_them(acting_page: str) -> None:
    page = acting_page
    attributes = [attributes for _, attributes in outline(page).tags]
    ids = [a["id"] for a in attributes if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {a["xlink:href"] for a in attributes if "xlink:href" in a}
    wanted |= set(re.findall(r"url\((#[^)]*)\)", page))
    assert wanted and {target.removeprefix("#") for target in wanted if target} <= set(ids)


def test_charts_follow_the_colours_of_the_page(page: str) -> None:
    assert page.count("<svg") == 3 + 3 + 2  # quality, codes, training
    charts = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "var(--accent)" in charts and "var(--ink)" in charts
    assert not re.findall(r"#[0-9a-f]{6}\b(?!\w)", re.sub(r'(id="|url\(#|href="#)[^")]*', "", charts))


def test_pictures_have_the_size_of_the_frames(page: str, sweeps: list[PrefixSweep]) -> None:
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    ]
    sweep = sweeps[0]
    assert len(pictures) == 2 * (2 + len(sweep.decoded)) - 1  # no difference below the target itself
    assert {picture.shape[:2] for picture in pictures} == {(20, 32)}
    frames = [sweep.obs, sweep.next_obs, *(sweep.decoded[k] for k in sorted(sweep.decoded))]
    for frame in frames:
        assert any(np.array_equal(frame, picture) for picture in pictures)


def test_the_measured_figures_stand_in_the_page(page: str) -> None:
    words = re.sub(r"<[^>]+>", "", page)
    assert "rises from 25.0 to 27.0 dB" in words
    assert "256 action labels" in words
    assert "loss is 1.40, below the 1.50 of a previous-action table" in words
    assert "58.0 % of held-out actions right; repeating the previous action, 53.0 %" in words
    assert "flexlam demo --out &#x27;my demo&#x27;" in words
    assert "20 November 2025, 10:14 UTC" in words
    assert "never use such frames as evidence" in words
    assert "nobody knows" not in words


def test_everything_from_outside_is_escaped(results: Any, sweeps: Any, metrics: Any, health: Any) -> None:
    hostile = "<script>alert('x')</script><img src=x onerror=\"y\">&$\\frac{"
    results.update(
        dict.fromkeys(("command", "translator", "decoder", "config_hash", "data_hash", "created", "kind"), hostile)
    )
    results["tasks"] = [hostile]
    results["machine"] = {hostile: hostile}
    results["parent_hashes"] = {hostile: hostile}
    results["baselines"][hostile] = {"action_loss": 1.0}
    health["verdict"] = health["reason"] = hostile
    curves = {f"validation/{hostile}{k}": 1.0 + k for k in range(9)}
    metrics += [{"step": step, **curves} for step in (1, 2)]
    sweep = sweeps[0]
    named = PrefixSweep(hostile, sweep.obs, sweep.next_obs, sweep.decoded)
    page = report_html(results, [named], metrics, health)
    tags = outline(page).tags
    assert not any(tag == "script" for tag, _ in tags)
    assert all("onerror" not in attributes for _, attributes in tags)
    assert "alert(" in page  # shown, not run


@pytest.mark.parametrize("key", ["rows", "baselines", "num_labels", "command", "machine", "config_hash", "created"])
def test_a_missing_value_is_named(
    key: str, results: Any, sweeps: Any, metrics: Any, health: Any, tmp_path: Path
) -> None:
    del results[key]
    with pytest.raises(ConfigError, match=key):
        write_report(tmp_path / "report.html", results, sweeps, metrics, health)
    assert list(tmp_path.iterdir()) == []


def test_missing_parts_within_are_named(results: Any, sweeps: Any, metrics: Any, health: Any) -> None:
    with pytest.raises(ConfigError, match="shuffle"):
        report_html(results | {"baselines": {"previous_action": {}, "idm": {}, "k0": {}}}, sweeps, metrics, health)
    with pytest.raises(ConfigError, match="schema version 7"):
        report_html(results | {"schema_version": 7}, sweeps, metrics, health)
    with pytest.raises(ConfigError, match=r"rows\.2\.psnr"):
        rows = [dict(row) for row in results["rows"]]
        del rows[2]["psnr"]
        report_html(results | {"rows": rows}, sweeps, metrics, health)
    del health["verdict"]
    with pytest.raises(ConfigError, match="verdict"):
        report_html(results, sweeps, metrics, health)


def test_frames_that_cannot_be_pictured_are_refused(results: Any, metrics: Any, health: Any) -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    for sweep in (
        PrefixSweep("a", frame, frame[:4], {0: frame}),
        PrefixSweep("a", frame, frame, {0: frame.astype(np.float32)}),
        PrefixSweep("a", frame, frame, {}),
        PrefixSweep("a", frame[0], frame[0], {0: frame[0]}),
    ):
        with pytest.raises(DataError, match="'a'"):
            report_html(results, [sweep], metrics, health)


def test_what_was_not_measured_is_left_out(results: Any, health: Any, tmp_path: Path) -> None:
    for row in (*results["rows"], *results["baselines"].values()):
        row.pop("action_accuracy", None)
    del health["prefix_curve"], health["shuffle_ratio"]
    write_report(tmp_path / "report.html", results, [], [], health)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    outline(page)
    assert page.count("<svg") == 2 + 2
    assert "accuracy" not in page and "Prefix sweeps" not in page and "<h2>Training" not in page


def test_the_same_inputs_give_the_same_page(page: str, results: Any, sweeps: Any, metrics: Any, health: Any) -> None:
    assert report_html(results, sweeps, metrics, health) == page


def test_how_it_acts_is_told(acting_page: str) -> None:
    titles = re.findall(r"<h2>([^<]*)</h2>", acting_page)
    assert [title for title in titles if title in SECTIONS] == list(SECTIONS)
    assert acting_page.count("<svg") == 3 + 3 + 2 + 2 + 1
    words = re.sub(r"<[^>]+>", "", acting_page)
    assert "num_samples = 8, codes = sample" in words
    assert "100 decisions after 20 to warm up" in words and "fitted on k = 1, 4;" in words
    assert "(by 140.0 s.e.); above the best blind control (by 110.0 s.e.)" in words
    assert "within two standard errors of the agent with shuffled codes" in words


def test_a_page_without_acting_says_nothing_of_it(page: str) -> None:
    assert not any(title in page for title in SECTIONS)
    assert "data:image/webp" not in page and "predicted codes" not in page


def test_the_loss_on_predicted_codes_has_its_column(results: Any, sweeps: Any, metrics: Any, health: Any) -> None:
    for row in results["rows"]:
        row.update(predicted_action_loss=row["action_loss"] + 0.1, predicted_action_loss_stderr=0.02)
    page = report_html(results, sweeps, metrics, health)
    assert "loss, predicted codes" in page and "1.500" in page and "± 0.020" in page


def test_task_names_and_actions_from_outside_are_escaped(
    results: Any, sweeps: Any, metrics: Any, health: Any, returns: Any, latency: Any, clip: Any, prediction: Any
) -> None:
    hostile = "<script>alert('x')</script>&$\\frac{"
    returns["tasks"][0]["task"] = returns["translator"] = hostile
    returns["rule"] = {hostile: hostile}
    returns["tasks"][0]["baselines"][hostile] = {"return": 1.0}
    latency["rows"][0]["parts_ms"][hostile] = 0.1
    clip = replace(clip, task=hostile, method=hostile, actions=[hostile] * 12)
    everything = results | {"returns": returns, "latency": latency}
    page = report_html(
        everything, sweeps, metrics, health, clips=[clip], predictions=[replace(prediction, task=hostile)]
    )
    assert not any(tag == "script" for tag, _ in outline(page).tags)


def test_a_bad_part_is_named(results: Any, sweeps: Any, metrics: Any, health: Any, returns: Any, clip: Any) -> None:
    del returns["tasks"][0]["num_episodes"]
    with pytest.raises(ConfigError, match=r"returns\.tasks\.0\.num_episodes"):
        report_html(results | {"returns": returns}, sweeps, metrics, health)
    with pytest.raises(DataError, match="actions"):
        report_html(results, sweeps, metrics, health, clips=[replace(clip, actions=[])])

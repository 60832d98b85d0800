import re

import pytest

from flexlam.core.errors import CheckpointError, ConfigError
from flexlam.core.run_folder import RunFolder
from flexlam.data.labels import LabelBudget
from flexlam.data.store import FrameStore
from flexlam.study.model_report import ModelReportConfig, report_model
from flexlam.training.translator import TranslatorRunConfig, train_translator, train_translator_by_hand
from tiny import FIT

CONFIG = TranslatorRunConfig(labels=LabelBudget(count=40), fit=FIT)


def test_a_page_without_any_action(store: FrameStore, learned: RunFolder, tmp_path) -> None:
    found = report_model(ModelReportConfig(), learned.path, store.path, tmp_path / "a.html", command="flexlam report")
    page = (tmp_path / "a.html").read_text()
    assert "Prefix sweeps" in page and "Training loss" in page and "Translator" not in page and "labels" not in page
    assert found["rows"][-1]["psnr"] > found["rows"][0]["psnr"]
    assert f"{found['rows'][-1]['psnr']:.1f} dB" in page and "http" not in re.sub(r"http-equiv|xmlns\S+", "", page)


def test_what_a_translator_reads_is_shown(store: FrameStore, learned: RunFolder, tmp_path) -> None:
    names = store.episodes.names
    lines = ["path,frame,action", *(f"{names[i % 9]},{i},{('jump', 'wait')[i % 2]}" for i in range(12))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    train_translator_by_hand(CONFIG, learned.path, store.path, tmp_path / "labels.csv", tmp_path / "translator")
    report_model(ModelReportConfig(), learned.path, store.path, tmp_path / "a.html", tmp_path / "translator")
    page = (tmp_path / "a.html").read_text()
    assert "Frames as they were recorded" in page and page.count("<details") == len(store.tasks)
    assert "It has learned from 12 labels of 2 choices (jump 6, wait 6)" in page
    assert re.search(r"Of labels that it had not seen it tells \d+% ± \d+% right", page)


def test_a_translator_that_wants_more_than_codes_is_refused(store: FrameStore, learned: RunFolder, tmp_path) -> None:
    train_translator(CONFIG, learned.path, store.path, tmp_path / "translator")
    with pytest.raises(ConfigError, match="reads the previous action"):
        report_model(ModelReportConfig(), learned.path, store.path, tmp_path / "a.html", tmp_path / "translator")
    with pytest.raises(CheckpointError):
        report_model(ModelReportConfig(), tmp_path, store.path, tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()

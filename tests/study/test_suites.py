"""What is known of suites before anything is computed."""

import os
from pathlib import Path

import pytest

from flexlam.core.errors import ConfigError
from flexlam.envs.gridworld import GridworldSuite
from flexlam.study.config import load_profile
from flexlam.study.pieces import suites
from flexlam.study.pieces.data import data_step, frame_shape
from flexlam.study.pieces.models import equal_objective_steps
from flexlam.study.pieces.suites import outline

TINY = load_profile("tiny")


def test_a_suite_is_asked_elsewhere_so_that_workers_may_draw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def opened(name: str) -> GridworldSuite:
        (tmp_path / "who").write_text(str(os.getpid()))
        return GridworldSuite()

    monkeypatch.setattr(suites, "open_suite", opened)
    recording = TINY.lafp.games["gridworld"].recording
    for ask in (
        lambda: equal_objective_steps(TINY.exogenous.lam, TINY.exogenous.lam, "gridworld"),
        lambda: data_step(TINY, recording),
        lambda: frame_shape(TINY.model_copy(update={"recording": recording})),
    ):
        outline.cache_clear()
        ask()
        assert (tmp_path / "who").read_text() != str(os.getpid())
        (tmp_path / "who").unlink()


def test_tasks_that_are_no_yardstick_are_known() -> None:
    seen = outline("vizdoom")
    assert set(seen.tasks) - set(seen.scored) == {"arena"} and seen.has_expert
    with pytest.raises(ConfigError, match="Did you mean 'vizdoom'"):
        outline("vizdom")

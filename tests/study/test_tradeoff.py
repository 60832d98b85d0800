"""The study itself: whole and tiny once, and its conclusions on figures made up for the purpose."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexlam.core.errors import ConfigError
from flexlam.data.parts import StoreConfig
from flexlam.data.store import FrameStore
from flexlam.study.base import Share, run_study
from flexlam.study.config import StudyConfig, load_profile
from flexlam.study.found import Found, Measured
from flexlam.study.graph import Step, Workspace
from flexlam.study.methods import (
    DECAY,
    DROPOUT,
    FIXED,
    FIXED_ENSEMBLE,
    FIXED_OURS,
    FLEX,
    FLEX_DECAY,
    OURS,
    OURS_SUMMED,
    SUMMED,
)
from flexlam.study.pieces import data, fits
from flexlam.study.pieces.models import equal_steps, training_flops
from flexlam.study.tradeoff import conclude, steps
from moving_square import square_store

METHODS = (FLEX, FLEX_DECAY, SUMMED, OURS, OURS_SUMMED, FIXED, DROPOUT, DECAY, FIXED_OURS, FIXED_ENSEMBLE)


def copied(store: FrameStore) -> Any:
    """A data step that has recorded already."""

    def work(step: Step, folder: Path, parents: list[Path]) -> None:
        if not (folder / "store").exists():
            (folder / "store").symlink_to(store.path)

    return work


@pytest.fixture(scope="module")
def config() -> StudyConfig:
    config = load_profile("tiny")
    loop = config.lam.training.model_copy(update={"num_steps": 4})
    encoder = config.lam.lam.encoder.model_copy(update={"patch_size": 8})
    decoder = config.lam.lam.decoder.model_copy(update={"patch_size": 8})
    lam = config.lam.lam.model_copy(update={"encoder": encoder, "decoder": decoder})
    small = {
        "lam": config.lam.model_copy(update={"training": loop, "lam": lam}),
        **{"store": StoreConfig(frame_size=(16, 16)), "num_test": 60, "num_workers": 1},
    }
    fit = config.fit.model_copy(update={"max_steps": 10})
    return config.model_copy(update={**small, "fit": fit, "label_counts": (16, 32)})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return square_store(tmp_path_factory.mktemp("squares"), num_episodes=30, length=12)


@pytest.fixture(scope="module")
def finished(
    config: StudyConfig, store: FrameStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "_record", copied(store))
        return out, run_study("tradeoff", config, out, out / "steps", command="flexlam study tradeoff")


def test_every_method_is_measured_in_every_cell(finished: tuple[Path, dict[str, Any]], config: StudyConfig) -> None:
    out, results = finished
    for method in METHODS:
        cells = {
            (row["seed"], row["k"], row["labels"], row["draw"]) for row in results["rows"] if row["method"] == method
        }
        draws = ((16, 0), (16, 1), (32, 0), (32, 1))
        wanted = {(s, k, n, d) for s in (0, 1) for k in (1, 4) for n, d in draws}
        assert cells == wanted, method
    assert all(np.isfinite(row["action_loss"]) for row in results["rows"])
    assert results["finished"][0] == results["finished"][1]
    claims = {claim["id"]: claim for claim in results["claims"]}
    assert {"non-inferior", "superior-loose-few", "loose-fragile", "tight-limited", "dropout-explains"} <= claims.keys()
    assert {claim["verdict"] for claim in claims.values()} <= {"supported", "contradicted", "inconclusive"}
    assert all(claim["seeds"] == 2 and claim["draws"] == 2 for claim in claims.values())
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    assert "Fixed-K + prefix, k = 4" in (out / "table.md").read_text()
    assert (out / "tradeoff.svg").read_text().count("<svg") == 1


@pytest.fixture
def recorded(store: FrameStore, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is recorded: the squares are."""
    monkeypatch.setattr(data, "_record", copied(store))
    return monkeypatch


def test_parts_spread_over_machines_are_merged_into_the_same_figures(
    finished: tuple[Path, dict[str, Any]], config: StudyConfig, recorded: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shares = {
        "a": Share((1,)),
        "b": Share((0,), (FLEX, SUMMED, OURS_SUMMED)),
        "c": Share((0,), ("previous action", OURS, FLEX_DECAY)),
    }
    for name, share in shares.items():
        part = run_study("tradeoff", config, tmp_path / name, tmp_path / name / "steps", share)
        assert part["finished"][0] < part["finished"][1]
        assert {row["seed"] for row in part["rows"]} == set(share.seeds)
        assert {row["method"] for row in part["rows"]} <= {*METHODS, "previous action"}
    rest = Share((0,), (FIXED, DROPOUT, DECAY, FIXED_OURS, FIXED_ENSEMBLE))
    run_study("tradeoff", config, tmp_path / "d", tmp_path / "d" / "steps", rest)
    recorded.setattr(Workspace, "compute", lambda *arguments: None)  # nothing is left to compute
    folders = [tmp_path / name / "steps" for name in (*shares, "d")]
    merged = run_study("tradeoff", config, tmp_path / "all", tmp_path / "steps", merge=folders)
    assert merged["rows"] == finished[1]["rows"]
    assert merged["claims"] == finished[1]["claims"]


def test_noise_in_the_place_of_test_labels_changes_nothing_that_is_chosen(
    finished: tuple[Path, dict[str, Any]], config: StudyConfig, recorded: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = fits.Problem.test

    def noisy(problem: fits.Problem, model: Any) -> Any:
        test = original(problem, model)
        noise = np.random.default_rng(0).integers(0, 5, test.action.shape)
        return dataclasses.replace(test, action=test.action.new_tensor(noise))

    recorded.setattr(fits.Problem, "test", noisy)
    few = config.model_copy(update={"seeds": (0,)})
    results = run_study("tradeoff", few, tmp_path, tmp_path / "steps")
    rows = [row for row in finished[1]["rows"] if row["seed"] == 0]
    chosen = ("method", "k", "labels", "draw", "num_steps", "heldout_loss", "weight_decay")
    assert [[row.get(key) for key in chosen] for row in results["rows"]] == [
        [r.get(key) for key in chosen] for r in rows
    ]
    assert [row["action_loss"] for row in results["rows"]] != [row["action_loss"] for row in rows]


def test_models_cost_the_same_arithmetic(config: StudyConfig) -> None:
    shape = (16, 16, 3)
    lam = config.lam.model_copy(update={"training": config.lam.training.model_copy(update={"num_steps": 10_000})})
    fixed = lam.model_copy(update={"lam": lam.lam.model_copy(update={"num_slots": 1, "prefix_sampling": "full"})})
    num_steps = equal_steps(lam, fixed, shape)
    assert num_steps > 10_000, "one slot is cheaper, so it is trained for longer"
    ours, theirs = 10_000 * training_flops(lam.lam, shape), num_steps * training_flops(fixed.lam, shape)
    assert theirs == pytest.approx(ours, rel=1e-3)
    assert equal_steps(lam, lam, shape) == 10_000


def test_a_change_invalidates_what_depends_on_it_and_nothing_else(config: StudyConfig) -> None:
    names = {kind: {s.name for s in steps(config) if s.kind == kind} for kind in ("translators", "floors")}
    fit = config.fit.model_copy(update={"learning_rate": 1e-4})
    other = steps(config.model_copy(update={"fit": fit}))
    assert not names["translators"] & {s.name for s in other}
    assert names["floors"] == {s.name for s in other if s.kind == "floors"}
    lams = lambda found: {parent.name for s in found for parent in s.parents if parent.kind == "lam"}  # noqa: E731
    assert lams(other) == lams(steps(config))
    more = steps(config.model_copy(update={"seeds": (*config.seeds, 9)}))
    assert {s.name for s in steps(config)} < {s.name for s in more}


def test_a_share_that_the_study_lacks_is_refused(config: StudyConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no seed 7; it has 0, 1"):
        run_study("tradeoff", config, tmp_path, tmp_path / "steps", Share((7,)))
    with pytest.raises(ConfigError, match="no method 'Flex'; it has 'previous action', 'FlexLAM'"):
        run_study("tradeoff", config, tmp_path, tmp_path / "steps", Share((), ("Flex",)))
    assert not list(tmp_path.iterdir())


# ---- conclusions


def made_up(config: StudyConfig, loss: dict[str, float], k_slope: dict[str, float]) -> list[Measured]:
    """Five seeds, small noise: a method's loss, and what each doubling of k adds with few labels."""
    generator = np.random.default_rng(0)
    config = config.model_copy(update={"seeds": range(5)})
    measured = []
    for seed in config.seeds:
        for method, value in loss.items():
            rows = [
                {
                    "k": k,
                    "labels": count,
                    "draw": draw,
                    "action_loss": value
                    + generator.normal(0, 0.002)
                    + (k_slope[method] if count == min(config.label_counts) else -0.05) * np.log2(k),
                }
                for k in config.prefix_lengths
                for count in config.label_counts
                for draw in range(2)
            ]
            measured.append(Measured({"method": method, "seed": seed}, rows))
    return measured


def verdicts(config: StudyConfig, loss: dict[str, float], k_slope: dict[str, float]) -> dict[str, str]:
    return {claim.id: claim.verdict for claim in conclude(config, Found(made_up(config, loss, k_slope))).claims}


def test_the_papers_picture_is_recognised_and_so_is_its_control(config: StudyConfig) -> None:
    level = dict.fromkeys(METHODS, 1.4)
    robust, fragile = ({**dict.fromkeys(METHODS, 0.0), FIXED: slope} for slope in (-0.1, 0.1))
    found = verdicts(config, level, fragile)
    assert found["non-inferior"] == "supported"
    assert found["superior-loose-few"] == "supported"
    assert found["loose-fragile"] == "supported"
    assert found["tight-limited"] == "supported"
    assert found["dropout-explains"] == "supported"
    assert found[f"superior-loose-few/{FLEX.lower()}/fixed-k-+-prefix"] == "inconclusive"
    found = verdicts(config, {**level, FLEX: 1.5}, robust)
    assert found["non-inferior"] == "contradicted"
    assert found["superior-loose-few"] == "contradicted"
    assert found["superior-loose-few/flexlam-ours/fixed-k"] == "contradicted", "the loose Fixed-K is robust here"
    assert found["loose-fragile"] == "contradicted"


def test_without_models_there_are_tables_but_no_claims(config: StudyConfig) -> None:
    outcome = conclude(config, Found([]))
    assert outcome.claims == [] and outcome.figures == {}


def test_the_cpu_profile_has_five_seeds_and_an_unknown_one_is_refused() -> None:
    assert len(load_profile("cpu").seeds) >= 5 and load_profile("cpu").prefix_lengths == (1, 4, 16)
    with pytest.raises(ConfigError, match="profile"):
        load_profile("huge")

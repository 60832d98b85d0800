"""LAFP by command: model, flow policy, translator on its latents, returns and latency, on the grid world."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line import LAM_SETTINGS, World
from command_line import run_command as run
from flexlam.acting.agent import Agent
from flexlam.core.checkpoint import copy_bundle
from flexlam.core.files import file_hash
from flexlam.lam.model import LatentActionModel
from flexlam.policy.model import load_policy


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> World:
    here = World(tmp_path_factory.mktemp("grid"))
    here.make("recording", "collect", "flow-tiny")
    here.make("store", "data", "convert", here.recording, "--num-workers", 1)
    here.make("lam", "train", "lam", "flow-tiny", "--data", here.store, *LAM_SETTINGS)
    here.make("other", "train", "lam", "flow-tiny", "--data", here.store, *LAM_SETTINGS, "--training.seed", 1)
    parents = ("flow-tiny", "--lam", here.lam, "--data", here.store)
    here.make("policy", "train", "policy", *parents, *LAM_SETTINGS)
    here.make("regression", "train", "policy", *parents, "--policy.name", "regression", *LAM_SETTINGS)
    sampled = ("--latents.source", "interpolated", "--latents.num-draws", 2)
    here.make("translator", "train", "translator", *parents, "--policy", here.policy, *sampled)
    return here


def test_train_policy_leaves_the_kind_that_was_asked_for(grid: World) -> None:
    lam = LatentActionModel.from_pretrained(grid.lam)
    assert load_policy(grid.policy, lam.hash).kind == "flow-policy"
    assert load_policy(grid.regression, lam.hash).kind == "regression-policy"
    assert "energy distance" in grid.said["policy"].out and "Flow policy: " in grid.said["policy"].out
    assert "energy distance" not in grid.said["regression"].out
    arguments = ("train", "policy", "flow-tiny", "--lam", grid.lam, "--data", grid.store, *LAM_SETTINGS)
    again = run(*arguments, "--out", grid.policy, "--resume")
    assert again.code == 0 and "had finished before" in again.out


def test_a_preset_of_a_sequence_model_takes_a_flow_by_name(grid: World, tmp_path: Path) -> None:
    arguments = ("train", "policy", "vizdoom-tiny", "--policy.name", "flow", "--training.num-steps", 2)
    said = run(*arguments, "--lam", grid.lam, "--data", grid.store, "--out", tmp_path / "flow")
    assert said.code == 0, said.err
    header = json.loads((tmp_path / "flow" / "run.json").read_text())
    assert header["config"]["policy"]["frame_stride"] == 1 and header["config"]["policy"]["trunk"]["patch_size"] == 4


def test_train_translator_takes_the_policys_latents_and_tells_the_misalignment(grid: World, tmp_path: Path) -> None:
    assert "loss" in grid.said["translator"].out and "on the policy's latents" in grid.said["translator"].out
    found = json.loads((grid.translator / "misalignment.json").read_text())
    assert [row["k"] for row in found["rows"]] == [1, 2]
    header = json.loads((grid.translator / "run.json").read_text())
    assert header["config"]["latents"]["source"] == "interpolated"
    assert header["parents"].keys() == {"lam", "data", "policy"}
    arguments = ("train", "translator", "flow-tiny", "--lam", grid.lam, "--data", grid.store, "--out", tmp_path / "no")
    without = run(*arguments, "--latents.source", "sampled")
    assert without.code == 2 and "--policy RUN" in without.err
    stranger = run(*arguments[:4], grid.other, *arguments[5:], "--policy", grid.policy)
    assert stranger.code == 2 and "predicts the codes of model" in stranger.err and not (tmp_path / "no").exists()
    unused = run(*arguments, "--label-file", "labels.csv", "--policy", grid.policy)
    assert unused.code == 2 and "Leave --policy out" in unused.err
    wrong = run(*arguments, "--latents.source", "interpolated", "--policy", grid.regression)
    assert wrong.code == 2 and "a flow alone can do" in wrong.err and not (tmp_path / "no").exists()
    assert "train policy PRESET --policy.name flow" in wrong.err


def test_train_tuned_policy_leaves_a_policy_and_its_translator_for_every_command(grid: World, tmp_path: Path) -> None:
    model = ("flow-tiny", "--lam", grid.lam, "--data", grid.store)
    start = ("--policy", grid.policy, "--translator", grid.translator)
    tune = ("train", "tuned-policy", *model, *start, "--training.num-steps", 6)
    said = run(*tune, "--out", tmp_path / "tuned")
    assert said.code == 0, said.err
    assert "action loss" in said.out and str(tmp_path / "tuned" / "translator") in said.out
    again = run(*tune, "--out", tmp_path / "tuned", "--resume")
    assert again.code == 0 and "had finished before" in again.out
    header = json.loads((tmp_path / "tuned" / "run.json").read_text())
    lam = LatentActionModel.from_pretrained(grid.lam)
    old, new = (load_policy(path, lam.hash).hash for path in (grid.policy, tmp_path / "tuned"))
    assert header["parents"]["policy"] == old != new
    own = ("--policy", tmp_path / "tuned")
    paired = ("--translator", tmp_path / "tuned")
    timed = run("eval", "latency", *model, *own, *paired, "--json", tmp_path / "latency.json", "--quiet")
    assert timed.code == 0, timed.err
    assert json.loads((tmp_path / "latency.json").read_text())["parent_hashes"]["policy"] == new
    acted = run("eval", "returns", *model, *own, "--quiet", "--baselines", "random")
    assert acted.code == 0, acted.err
    agent = Agent.load(grid.lam, tmp_path / "tuned", tmp_path / "tuned")
    assert agent.policy.hash == new and agent.rule.num_samples == 1
    for policy, translator in ((grid.policy, tmp_path / "tuned"), (tmp_path / "tuned", grid.translator)):
        mixed = ("--policy", policy, "--translator", translator)
        for command in (
            ("eval", "latency", *model, *mixed, "--quiet"),
            ("train", "tuned-policy", *model, *mixed, "--out", tmp_path / "no"),
            ("export", "model", grid.lam, *mixed, "--out", tmp_path / "no"),
        ):
            refused = run(*command)
            assert refused.code == 2 and "was fitted to latents of policy" in refused.err, command
    assert not (tmp_path / "no").exists()


def test_fine_tuning_takes_the_translators_labels_or_those_of_a_budget(grid: World, tmp_path: Path) -> None:
    tune = ("train", "tuned-policy", "flow-tiny", "--lam", grid.lam, "--data", grid.store, "--training.num-steps", 2)
    start = (*tune, "--policy", grid.policy, "--translator")
    said = run(*start, grid.translator, "--out", tmp_path / "own")
    assert said.code == 0, said.err
    assert file_hash(tmp_path / "own" / "labels.parquet") == file_hash(grid.translator / "labels.parquet")
    said = run(*start, grid.translator, "--out", tmp_path / "five", "--labels.count", 5, "--draw", 1)
    assert said.code == 0, said.err
    assert pq.read_table(tmp_path / "five" / "labels.parquet").num_rows == 5
    for words, told in (
        (("--draw", 1), "give one of these, or no draw"),
        (("--labels.task", "grid4"), "exactly one of count and fraction"),
        (("--labels.coun", 5), "--labels.coun"),
    ):
        refused = run(*start, grid.translator, "--out", tmp_path / "no", *words)
        assert refused.code == 2 and told in refused.err, words
    copy_bundle(grid.translator / "model", tmp_path / "bare" / "translator")
    bare = run(*start, tmp_path / "bare" / "translator", "--out", tmp_path / "no")
    assert bare.code == 2 and "No labels lie beside the translator" in bare.err and "--labels.count" in bare.err
    assert not (tmp_path / "no").exists()


def test_a_run_of_fine_tuning_that_replaces_or_lacks_its_parts_is_refused(grid: World, tmp_path: Path) -> None:
    model = ("train", "tuned-policy", "flow-tiny", "--lam", grid.lam, "--data", grid.store)
    for out in (grid.policy, grid.translator):
        said = run(*model, "--policy", grid.policy, "--translator", grid.translator, "--out", out, "--overwrite")
        assert said.code == 2 and "would replace" in said.err
    full = run(*model, "--policy", grid.policy, "--translator", grid.translator, "--out", grid.regression)
    assert full.code == 2 and "already holds something" in full.err and "`tuned-policy`" in full.err
    for parts in ((grid.translator, grid.translator), (grid.policy, grid.policy), (grid.lam, grid.translator)):
        said = run(*model, "--policy", parts[0], "--translator", parts[1], "--out", tmp_path / "no")
        assert said.code == 2 and "holds a" in said.err and not (tmp_path / "no").exists()


def test_eval_returns_plays_with_as_many_steps_as_asked_for(grid: World, tmp_path: Path) -> None:
    arguments = ("eval", "returns", "flow-tiny", "--lam", grid.lam, "--data", grid.store, "--policy", grid.policy)
    said = run(*arguments, "--steps", 5, "--json", tmp_path / "returns.json", "--quiet")
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "returns.json").read_text())
    assert results["rule"]["num_steps"] == 5 and results["rule"]["num_samples"] == 1
    assert [row["k"] for row in results["tasks"][0]["rows"]] == [2]
    usual = run(*arguments, "--steps", 3, "--quiet", "--baselines", "random", "--latents.source", "sampled")
    assert usual.code == 0, usual.err
    none = run(*arguments, "--steps", 0)
    assert none.code == 2 and "--steps: got 0" in none.err, "as it was typed"
    assert "--rule.num-steps: got 0" in run(*arguments, "--rule.num-steps", 0).err
    for words in (("--steps", "three"), ("--steps=three",)):
        assert "--steps: expected a whole number; got 'three'." in run(*arguments, *words).err


def test_eval_latency_and_alignment_work_with_a_flow(grid: World, tmp_path: Path) -> None:
    parts = ("flow-tiny", "--lam", grid.lam, "--data", grid.store, "--policy", grid.policy)
    said = run("eval", "latency", *parts, "--translator", grid.translator, "--json", tmp_path / "latency.json")
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "latency.json").read_text())
    assert results["context_frames"] == 1 and results["num_samples"] == 1
    assert set(results["rows"][0]["parts_ms"]) == {"prepare", "encode", "context", "generate", "fill", "translate"}
    said = run("eval", "alignment", *parts, "--num-draws", 1, "--json", tmp_path / "alignment.json", "--quiet")
    assert said.code == 0, said.err
    rows = json.loads((tmp_path / "alignment.json").read_text())["rows"]
    assert all("predicted_action_loss" in row for row in rows)

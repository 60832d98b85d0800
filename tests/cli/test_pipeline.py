"""Every verb in its turn, on a small world; `demo` has tests of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from command_line import LAM_SETTINGS, World
from command_line import run_command as run
from flexlam.cli import VERBS
from flexlam.core.action import ActionSpec
from flexlam.data.readers import open_dataset
from flexlam.data.store import FrameStore
from flexlam.data.twins import check_twins
from flexlam.lam.decoders.flow import FlowDecoder
from flexlam.lam.model import LatentActionModel
from flexlam.policy.autoregressive import SequenceModel
from flexlam.translator.model import load_translator

NAMES = {
    "reader": {
        *("frame-folder", "laom", "lerobot", "minari", "mp4-json", "procgen-npz", "robomimic", "row-parquet"),
        *("trajectory-npz", "video-folder", "webdataset"),
    },
    "decoder": {"flow", "regression"},
    "translator": {"per-prefix", "prefix-ensemble", "prefix-sampled"},
    "policy": {"flow", "regression", "sequence"},
    "preset": {"flow", "flow-tiny", "vizdoom", "vizdoom-small", "vizdoom-tiny"},
}


def test_collect_records_a_dataset_that_the_reader_opens(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    arguments = ("collect", "vizdoom-tiny", "--tasks", "health_gathering", "--num-frames", 24, "--quiet")
    said = run(*arguments, "--out", tmp_path / "actions")
    assert said.code == 0 and str(tmp_path / "actions") in said.out and not said.err
    info = open_dataset(tmp_path / "actions").info
    assert (info.num_frames, info.frame_shape, info.tasks) == (24, (64, 64, 3), ("health_gathering",))
    assert info.action_spec is not None and info.action_spec.num_choices == (18,)
    assert run(*arguments, "--no-actions", "--out", tmp_path / "video").code == 0
    assert open_dataset(tmp_path / "video").info.action_spec is None


def test_collect_draws_overlays_and_records_their_state(tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    arguments = ("collect", "vizdoom-tiny", "--tasks", "health_gathering", "--num-frames", 6, "--quiet")
    plain, nuisance = tmp_path / "plain", tmp_path / "nuisance"
    assert run(*arguments, "--out", plain).code == 0
    assert run(*arguments, "--out", nuisance, "--overlay", "flicker", "sprites").code == 0
    readers = [open_dataset(path) for path in (plain, nuisance)]
    frames = [np.stack(list(reader.frames(reader.episodes()[0]))) for reader in readers]
    assert not np.array_equal(*frames)
    columns = [reader.columns(reader.episodes()[0]) for reader in readers]
    assert np.array_equal(columns[0].actions, columns[1].actions), "the overlay does not reach the game"
    assert columns[1].extras["exogenous_state"].shape[0] == 6
    misspelt = run(*arguments, "--out", tmp_path / "no", "--overlay", "flickr")
    assert misspelt.code == 2 and "Did you mean 'flicker'" in misspelt.err


def test_collect_records_twins_and_their_stores_keep_the_exact_states(tmp_path: Path) -> None:
    words = ("collect", "vizdoom-tiny", "--suite", "gridworld", "--tasks", "grid8", "--num-frames", 12, "--quiet")
    stores = []
    for seed in (0, 1):
        recording, store = tmp_path / f"recording{seed}", tmp_path / f"store{seed}"
        assert run(*words, "--overlay", "waves", "--overlay-seed", seed, "--out", recording).code == 0
        assert run("data", "convert", recording, "--out", store, "--num-workers", 1, "--quiet").code == 0
        stores.append(FrameStore.open(store))
    check_twins(*stores)
    assert set(stores[0].extras) > {"endogenous_state", "exogenous_state", "exogenous_innovation"}
    alone = run(*words, "--overlay-seed", 1, "--out", tmp_path / "no")
    assert alone.code == 2 and "there are no overlays" in alone.err


def test_data_info_describes_datasets_and_stores(world: World) -> None:
    about = json.loads(run("data", "info", world.dataset, "--json").out)
    assert (about["format"], about["num_episodes"], about["num_frames"]) == ("lerobot", 12, 240)
    assert about["frame_shape"] == [64, 64, 3] and about["tasks"] == {"a": 6, "b": 6}
    assert ActionSpec.parse(about["action_spec"]).num_choices == (18,)
    store = json.loads(run("data", "info", world.store, "--json").out)
    assert store["format"] == "frame store" and store["num_frames"] == 240
    assert store["content_hash"] in world.said["store"].out
    text = run("data", "info", world.dataset).out
    assert "64 x 64 x 3" in text and "num frames" in text


def test_a_mixture_of_stores_stands_where_a_store_does(world: World, tmp_path: Path) -> None:
    mixture, lam = tmp_path / "mixture", tmp_path / "lam"
    said = run("data", "mix", world.store, world.silent_store, "--weights", 3, 1, "--out", mixture)
    assert said.code == 0, said.err
    assert "silent_store: share: 0.25" in said.out
    said = run("train", "lam", "vizdoom-tiny", "--data", mixture, *LAM_SETTINGS, "--out", lam)
    assert said.code == 0, said.err
    assert run("encode", lam, "--data", mixture, "--out", tmp_path / "codes").code == 0
    assert pq.read_table(tmp_path / "codes").num_rows == 2 * 12 * 19
    wrong = run("train", "translator", "vizdoom-tiny", "--lam", lam, "--data", mixture, "--out", tmp_path / "no")
    assert wrong.code == 2 and "no actions" in wrong.err


def test_data_check_finds_nothing_wrong_with_good_data(world: World) -> None:
    for path in (world.dataset, world.store):
        report = json.loads(run("data", "check", path, "--json").out)
        assert (report["ok"], report["num_frames"], report["rows"]) == (True, 240, [])
    assert "nothing to complain about" in run("data", "check", world.dataset, "--strict").out


def test_data_convert_tells_what_it_wrote(world: World) -> None:
    assert "12 episodes, 240 frames" in world.said["store"].out


def test_data_convert_replaces_a_store_only_when_told(world: World, tmp_path: Path) -> None:
    out = tmp_path / "store"
    assert run("data", "convert", world.dataset, "--out", out, "--quiet").code == 0
    assert run("data", "convert", world.dataset, "--out", out, "--codec", "webp", "--overwrite").code == 0
    assert json.loads(run("data", "info", out, "--json").out)["codec"] == "webp"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_train_lam_leaves_a_model_that_python_loads(world: World) -> None:
    assert "Verdict: " in world.said["lam"].out and str(world.lam / "model") in world.said["lam"].out
    model = LatentActionModel.from_pretrained(world.lam)
    assert model.num_slots == 4 and model.frame_shape == (64, 64, 3)
    header = json.loads((world.lam / "run.json").read_text())
    assert header["config"]["training"]["num_steps"] == 6


def test_a_finished_run_that_is_resumed_says_so_and_stays(world: World) -> None:
    before = world.snapshot()
    said = run("train", "lam", "vizdoom-tiny", "--data", world.store, "--out", world.lam, *LAM_SETTINGS, "--resume")
    assert said.code == 0 and "had finished before" in said.out
    assert world.snapshot() == before


def test_train_translator_leaves_a_translator_of_that_model(world: World) -> None:
    assert "Held-out loss" in world.said["translator"].out
    model = LatentActionModel.from_pretrained(world.lam)
    translator = load_translator(world.translator / "model", model.hash)
    assert translator.served == (0, 1, 2, 3, 4)
    assert pq.read_table(world.translator / "labels.parquet").num_rows == 64


def test_train_policy_leaves_a_sequence_model_of_that_model(world: World, tmp_path: Path) -> None:
    assert "nats a code" in world.said["policy"].out and str(world.policy / "model") in world.said["policy"].out
    lam = LatentActionModel.from_pretrained(world.lam)
    policy = SequenceModel.from_pretrained(world.policy, lam.hash)
    assert (policy.num_slots, policy.frame_shape) == (4, (64, 64, 3))
    header = json.loads((world.policy / "run.json").read_text())
    assert header["parents"]["lam"] == lam.hash and header["config"]["training"]["num_steps"] == 6
    arguments = ("train", "policy", "vizdoom-tiny", "--lam", world.lam, *LAM_SETTINGS)
    again = run(*arguments, "--data", world.store, "--out", world.policy, "--resume")
    assert again.code == 0 and "had finished before" in again.out
    bare = run(*arguments, "--data", world.silent_store, "--out", tmp_path / "bare", "--quiet")
    assert bare.code == 0, "no actions are needed"


def test_train_joint_makes_a_new_model_and_its_translator(world: World, tmp_path: Path) -> None:
    arguments = ("train", "joint", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--training.num-steps", 3)
    said = run(*arguments, "--out", tmp_path / "joint")
    assert said.code == 0, said.err
    old, new = (LatentActionModel.from_pretrained(path) for path in (world.lam, tmp_path / "joint"))
    assert old.hash != new.hash
    load_translator(tmp_path / "joint" / "translator", new.hash)
    again = run(*arguments, "--out", tmp_path / "joint", "--resume")
    assert again.code == 0 and "had finished before" in again.out


def test_eval_alignment_prints_every_k_beside_the_baselines(world: World, tmp_path: Path) -> None:
    arguments = ("eval", "alignment", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--quiet")
    few = ("--num-draws", 2, "--fit.max-steps", 20, "--idm-fit.max-steps", 10)
    said = run(*arguments, *few, "--json", tmp_path / "alignment.json")
    assert said.code == 0, said.err
    for words in ("k = 0", "k = 1", "k = 4 (all slots)", "shuffled codes", "previous action, all labels"):
        assert words in said.out
    results = json.loads((tmp_path / "alignment.json").read_text())
    assert [row["k"] for row in results["rows"]] == [0, 1, 2, 4]
    assert {"previous_action", "idm", "k0", "shuffled", "repeat_previous"} <= results["baselines"].keys()
    assert all(len(row["action_loss_draws"]) == 2 for row in results["rows"])


def test_eval_alignment_with_a_policy_adds_the_loss_on_predicted_codes(world: World, tmp_path: Path) -> None:
    arguments = ("eval", "alignment", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--quiet")
    few = ("--num-draws", 2, "--fit.max-steps", 20, "--idm-draws", 0)
    said = run(*arguments, *few, "--policy", world.policy, "--json", tmp_path / "alignment.json")
    assert said.code == 0, said.err
    assert "loss, predicted codes" in said.out
    results = json.loads((tmp_path / "alignment.json").read_text())
    assert results["parent_hashes"].keys() == {"lam", "policy"} and all(results["parent_hashes"].values())
    for row in results["rows"]:
        assert len(row["predicted_action_loss_draws"]) == 2
        same = row["predicted_action_loss"] == pytest.approx(row["action_loss"], rel=1e-4)
        assert same == (row["k"] == 0), "without codes nothing is predicted"


def test_eval_latency_prints_the_milliseconds_of_every_k(world: World, tmp_path: Path) -> None:
    parts = ("--lam", world.lam, "--policy", world.policy, "--translator", world.translator, "--data", world.store)
    said = run("eval", "latency", "vizdoom-tiny", *parts, "--json", tmp_path / "latency.json", "--quiet")
    assert said.code == 0, said.err
    for words in ("ms a decision", "k = 1", "k = 4 (all slots)", "c + b k", "generate"):
        assert words in said.out
    results = json.loads((tmp_path / "latency.json").read_text())
    assert (results["kind"], results["num_steps"], results["num_slots"]) == ("latency", 5, 4)
    assert [row["k"] for row in results["rows"]] == [1, 2, 4]
    assert results["parent_hashes"].keys() == {"lam", "policy"}


def test_eval_returns_lets_the_agent_act_and_draws_clips(tmp_path: Path) -> None:
    """The whole chain on one game: record, build, train, act."""
    pytest.importorskip("vizdoom")
    here = World(tmp_path)
    here.make("recording", "collect", "vizdoom-tiny", "--tasks", "basic", "--num-frames", 160)
    here.make("store", "data", "convert", here.recording)
    here.make("lam", "train", "lam", "vizdoom-tiny", "--data", here.store, *LAM_SETTINGS)
    here.make("policy", "train", "policy", "vizdoom-tiny", "--lam", here.lam, "--data", here.store, *LAM_SETTINGS)
    parts = ("vizdoom-tiny", "--lam", here.lam, "--policy", here.policy, "--data", here.store)
    few = ("--baselines", "random", "constant", "shuffled", "cloning", "--prefix-lengths", 0, 4, "--labels.count", 40)
    wanted = ("--json", here.folder / "returns.json", "--clips", here.clips, "--quiet")
    said = run("eval", "returns", *parts, *few, *wanted)
    assert said.code == 0, said.err
    for words in ("basic", "k = 0", "k = 4 (all slots)", "agent, shuffled codes", "recorded behaviour"):
        assert words in said.out
    assert "full code’s lead over" in said.out
    results = json.loads((here.folder / "returns.json").read_text())
    assert (results["kind"], results["num_labels"]) == ("returns", 40)
    assert results["parent_hashes"].keys() == {"lam", "policy"}
    (task,) = results["tasks"]
    assert [row["k"] for row in task["rows"]] == [0, 4] and task["num_episodes"] == 2
    assert {"random", "constant", "shuffled", "cloning", "recorded", "expert"} == task["baselines"].keys()
    with Image.open(here.clips / "basic.webp") as clip:
        assert clip.n_frames > 1


def test_eval_reconstruction_prints_every_k_asked_for(world: World, tmp_path: Path) -> None:
    arguments = ("eval", "reconstruction", "vizdoom-tiny", "--lam", world.lam, "--data", world.store)
    said = run(*arguments, "--prefix-lengths", 3, 0, "--json", tmp_path / "reconstruction.json")
    assert said.code == 0, said.err
    assert "PSNR" in said.out and "k = 3" in said.out and "copy the present frame" in said.out
    results = json.loads((tmp_path / "reconstruction.json").read_text())
    assert [row["k"] for row in results["rows"]] == [0, 3]
    assert results["decoder"] == "regression" and results["num_transitions"] == 38


@pytest.mark.parametrize("kind", NAMES)
def test_list_names_everything_or_one_kind(kind: str) -> None:
    one = run("list", kind).out.split()
    assert one[0] == kind and set(one[1:]) == NAMES[kind]
    assert NAMES[kind] <= set(run("list").out.split())


def test_a_component_is_chosen_by_name_and_keeps_the_sizes_of_the_preset(world: World, tmp_path: Path) -> None:
    """The preset decodes by regression, with 32 wide layers."""
    arguments = ("train", "lam", "vizdoom-tiny", "--data", world.store, "--out", tmp_path / "flow", "--quiet")
    said = run(*arguments, "--lam.decoder.name", "flow", "--lam.decoder.depth=2", "--training.num-steps", 2)
    assert said.code == 0, said.err
    decoder = LatentActionModel.from_pretrained(tmp_path / "flow").config.decoder
    assert isinstance(decoder, FlowDecoder.Config) and (decoder.dim, decoder.depth) == (32, 2)


def test_help_lists_the_verbs_the_presets_and_plain_flags() -> None:
    assert "train translator" in run("--help").out and run().code == 0
    assert "train joint" in run("train", "--help").out
    assert "vizdoom-small" in run("train", "lam", "--help").out
    settings = run("train", "lam", "vizdoom-tiny", "--help")
    assert settings.code == 0 and "--lam.num-slots" in settings.out and "--overwrite" in settings.out
    assert "--no-overwrite" not in settings.out


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom flexlam.cli import VERBS, main\n"
        "for verb in VERBS:\n"
        "    try: main([*verb.split(), '--help'])\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "main(['--help']); main(['--version']); main(['list'])\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == len(VERBS) + 1


def test_encode_and_report_by_command(world: World, tmp_path: Path) -> None:
    said = run("encode", world.lam, "--data", world.store, "--out", tmp_path / "codes", "--prefix-length", 2, "--quiet")
    assert said.code == 0 and "2 of" in said.out and not said.err
    assert pq.read_table(tmp_path / "codes")["codes"].type.list_size == 2
    again = run("encode", world.lam, "--data", world.store, "--out", tmp_path / "codes", "--quiet")
    assert again.code == 2 and "already holds something" in again.err
    onto_itself = run("encode", world.lam, "--data", world.store, "--out", world.lam, "--overwrite")
    assert onto_itself.code == 2 and "which is read" in onto_itself.err and (world.lam / "run.json").exists()
    report = tmp_path / "report.html"
    assert run("report", world.lam, "--data", world.store, "--out", report).code == 0
    assert "<!doctype html>" in report.read_text()
    assert run("report", world.lam, "--data", world.store, "--out", report).code == 2
    assert run("report", world.lam, "--data", world.store, "--out", tmp_path / "report").code == 2


def test_plan_by_command(world: World) -> None:
    said = run("plan", "vizdoom-tiny", "--data", world.store)
    assert said.code == 0 and "training transitions" in said.out and "memory" in said.out
    assert json.loads(run("plan", "vizdoom-tiny", "--data", world.store, "--json").out)["num_parameters"] > 1000

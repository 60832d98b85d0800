"""Whatever a user may get wrong in data or settings: exit code 2, a message that helps, nothing written."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from command_line import LAM_SETTINGS, World, run_command, write_dataset
from flexlam.core.action import ActionSpec
from flexlam.core.errors import CheckpointError, DataError
from flexlam.data.lerobot_format import CAMERA
from flexlam.lam.model import LatentActionModel
from flexlam.translator.model import load_translator

Refused = Callable[..., str]


def lam(world: World) -> tuple[object, ...]:
    return ("train", "lam", "vizdoom-tiny", "--data", world.store, "--out", world.out)


def translator(world: World) -> tuple[object, ...]:
    return ("train", "translator", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--out", world.out)


def readers_of_stores(world: World, store: Path) -> list[tuple[object, ...]]:
    """Every command that reads a store, aimed at this one."""
    model = ("vizdoom-tiny", "--lam", world.lam, "--data", store)
    return [
        ("train", "lam", "vizdoom-tiny", "--data", store, "--out", world.out),
        ("train", "translator", *model, "--out", world.out),
        ("train", "joint", *model, "--out", world.out),
        ("eval", "alignment", *model),
        ("eval", "reconstruction", *model),
        ("train", "policy", *model, "--out", world.out),
        ("eval", "returns", *model, "--policy", world.policy),
        ("eval", "latency", *model, "--policy", world.policy, "--translator", world.translator),
    ]


def acting(world: World, **changes: Path) -> list[tuple[object, ...]]:
    """Every measurement that takes a policy, with other parts if told; the last one takes a translator, too."""
    parts = {"lam": world.lam, "policy": world.policy, "data": world.store, "translator": world.translator} | changes
    given = {name: (f"--{name}", path) for name, path in parts.items()}
    model = ("vizdoom-tiny", *given["lam"], *given["policy"], *given["data"])
    return [
        ("eval", "returns", *model),
        ("eval", "alignment", *model),
        ("eval", "latency", *model, *given["translator"]),
    ]


# ---- words


def test_an_unknown_verb_is_answered_with_the_nearest(refused: Refused) -> None:
    refused("trian", "lam", tells=("'trian'", "Did you mean 'train lam'?"))
    refused("train", "lma", tells=("'train lma'", "Did you mean 'train lam'?"))
    refused("listt", tells=("Did you mean 'list'?",))
    refused("train", tells=())


def test_an_unknown_or_missing_preset_is_answered_with_the_known_ones(refused: Refused, world: World) -> None:
    arguments = ("--data", world.store, "--out", world.out)
    refused("train", "lam", "vizdoom-tyni", *arguments, tells=("vizdoom-tyni", "Did you mean 'vizdoom-tiny'?"))
    refused("train", "lam", *arguments, tells=("Give a preset first", "vizdoom-small"))


def test_an_unknown_option_or_setting_is_answered_with_the_nearest(refused: Refused, world: World) -> None:
    refused(*lam(world), "--overwrit", tells=("--overwrit", "Perhaps you meant: --overwrite"))
    refused(*lam(world), "--training.num-stepps", 3, tells=("--training.num-stepps", "meant: --training.num-steps INT"))
    refused("data", "info", world.store, "--jsno", tells=("--jsno", "Perhaps you meant: --json"))
    refused("data", "convert", world.dataset, tells=("Missing", "--out"))


def test_a_misspelt_name_is_answered_with_the_known_ones(refused: Refused, world: World) -> None:
    decoder = ("'regresion'", "Did you mean 'regression'?", "flow")
    refused(*lam(world), "--lam.decoder.name", "regresion", tells=decoder)
    refused(*translator(world), "--translator.name=per-prefi", tells=("Did you mean 'per-prefix'?",))
    refused(*translator(world), "--labels.task", "aa", tells=("'aa'", "Did you mean 'a'?", "Known: a, b"))
    refused(*lam(world), "--training.optimizer.name", "muno", tells=("'muno'", "'muon'"))
    refused(*lam(world), "--lam.prefix-sampling", "unifrom", tells=("'unifrom'", "'uniform'"))
    refused("list", "decodre", tells=("'decodre'", "Did you mean 'decoder'?"))
    refused("data", "convert", world.dataset, "--out", world.out, "--codec", "wepb", tells=("'wepb'", "'webp'"))


def test_recording_refuses_unknown_names_and_keeps_what_is_there(refused: Refused, world: World) -> None:
    pytest.importorskip("vizdoom")
    task = ("health_gatherin", "Did you mean 'health_gathering'?")
    refused("collect", "vizdoom-tiny", "--out", world.out, "--tasks", "health_gatherin", tells=task)
    there = ("collect", "vizdoom-tiny", "--out", world.dataset, "--overwrite")
    refused(*there, "--tasks", "health_gatherin", tells=task)
    refused(*there, "--suite", "vizdom", tells=("Did you mean 'vizdoom'?",))
    refused(*there, "--num-frames", 1, tells=("--num-frames: got 1", "greater than or equal to 2"))
    refused(*there, "--noise", 1.5, tells=("--noise: got 1.5", "less than 1"))


# ---- values


@pytest.mark.parametrize(
    ("setting", "tells"),
    [
        (("--lam.num-slots", 0), ("--lam.num-slots: got 0", "greater than or equal to 1", "--help")),
        (("--training.num-steps", -3), ("--training.num-steps: got -3", "greater than or equal to 1")),
        (("--lam.num-slots", "many"), ("--lam.num-slots", "'many'")),
        (("--lam.quantizer.levels", 8, 1), ("--lam.quantizer.levels: got (8, 1)", "levels in each")),
        (("--pairs.gap-seconds", -1), ("--pairs.gap-seconds", "greater than 0")),
        (("--pairs.gap-steps", 50), ("no transition", "gap of 50 step(s)", "smaller gap")),
        (("--pairs.split", 0.5, 0.1, 0.1), ("(0.5, 0.1, 0.1)", "add up to 1")),
        (("--pairs.split", 1, 0, 0), ("leaves none for validation", "pairs.split")),
        (("--lam.encoder.patch-size", 7), ("patch_size 7", "64×64", "divisor")),
        (("--lam.decoder.patch-size", 48), ("patch_size 48", "64×64", "divisor")),
        (("--lam.encoder.num-heads", 5), ("num_heads 5", "dim 32", "divisor")),
    ],
)
def test_a_setting_out_of_range_is_refused(
    refused: Refused, world: World, setting: tuple[object, ...], tells: tuple[str, ...]
) -> None:
    refused(*lam(world), *setting, tells=tells)
    # The same for a run that is to be replaced: it stays as it is.
    refused(
        "train", "lam", "vizdoom-tiny", "--data", world.store, "--out", world.lam, "--overwrite", *setting, tells=tells
    )


def test_a_device_or_tracker_that_is_not_there_is_refused(
    refused: Refused, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("flexlam.training.trackers.find_spec", lambda name: name != "wandb" or None)
    refused(*lam(world), "--training.device", "cuda", tells=("'cuda' is not available", "Available:", "cpu"))
    refused(*lam(world), "--training.trackers", "wandb", tells=("'wandb'", "not installed", "pip install wandb"))


def test_prefix_lengths_outside_the_model_are_refused(refused: Refused, world: World) -> None:
    model = ("vizdoom-tiny", "--lam", world.lam, "--data", world.store)
    told = ("prefix_length is 9", "this model has 4 slots", "0 to 4")
    refused("eval", "alignment", *model, "--prefix-lengths", 0, 9, tells=told)
    refused("eval", "reconstruction", *model, "--prefix-lengths", 9, tells=told)
    refused("eval", "reconstruction", *model, "--prefix-lengths", -1, tells=("prefix_length is -1", "0 to 4"))
    refused(*translator(world), "--translator.name", "per-prefix", "--translator.prefix-lengths", 9, tells=told)


def test_labels_that_are_not_there_are_refused(refused: Refused, world: World) -> None:
    refused(*translator(world), "--labels.count", 9999, tells=("9999 labels", "only 152 training", "fewer labels"))
    folds = ("3 labels", "5 folds", "fit.num_folds")
    refused(*translator(world), "--labels.count", 3, "--fit.num-folds", 5, tells=folds)
    refused(*translator(world), "--labels.count", 0, tells=("--labels.count: got 0",))
    refused(*translator(world), "--labels.fraction", 0.5, tells=("exactly one of count and fraction",))


# ---- data


def test_missing_data_is_refused(refused: Refused, world: World) -> None:
    for arguments in readers_of_stores(world, world.nowhere):
        refused(*arguments, tells=("nothing at", "nowhere", "flexlam data convert"))
    for arguments in (
        ("convert", world.nowhere, "--out", world.out),
        ("info", world.nowhere),
        ("check", world.nowhere),
    ):
        refused("data", *arguments, tells=("no dataset at", "nowhere", "Known formats: frame-folder"))


def test_an_empty_folder_is_refused(refused: Refused, world: World, tmp_path: Path) -> None:
    for arguments in readers_of_stores(world, tmp_path):
        refused(*arguments, tells=(str(tmp_path), "holds no manifest.json", "flexlam data convert"))
    refused("data", "convert", tmp_path, "--out", world.out, tells=("empty folder", "expected a dataset"))


def test_a_dataset_where_a_store_is_expected_is_answered_with_the_command_to_run(
    refused: Refused, world: World
) -> None:
    for arguments in readers_of_stores(world, world.dataset):
        refused(*arguments, tells=(f"flexlam data convert {world.dataset} --out STORE",))
    refused("data", "convert", world.store, "--out", world.out, tells=("looks like a frame store", "built from"))


def test_a_run_of_another_kind_or_none_is_refused(refused: Refused, world: World) -> None:
    def arguments(run: Path) -> tuple[object, ...]:
        return ("eval", "reconstruction", "vizdoom-tiny", "--lam", run, "--data", world.store)

    refused(*arguments(world.translator), tells=("is a translator run", "expected a lam or joint run"))
    refused(*arguments(world.store), tells=("not a run folder", "run.json"))
    refused(*arguments(world.nowhere), tells=("not a run folder",))


def test_episodes_of_one_frame_are_refused(refused: Refused, world: World, tmp_path: Path) -> None:
    write_dataset(tmp_path / "single", num_episodes=3, length=1)
    told = ("None of the 3 episodes", "1 frame(s)", "a transition needs two", "flexlam data check")
    refused("data", "convert", tmp_path / "single", "--out", world.out, tells=told)
    assert "a transition needs two" in run_command("data", "check", tmp_path / "single").out


def test_too_few_episodes_to_hold_any_out_are_refused(refused: Refused, world: World, tmp_path: Path) -> None:
    write_dataset(tmp_path / "few", num_episodes=2)
    run_command("data", "convert", tmp_path / "few", "--out", tmp_path / "store")
    for arguments in readers_of_stores(world, tmp_path / "store"):
        refused(*arguments, tells=("2 episode(s)", "leaves none for validation", "Record more"))


def test_frames_of_another_size_than_the_model_are_refused(refused: Refused, world: World) -> None:
    for arguments in readers_of_stores(world, world.small_store)[1:]:
        refused(*arguments, tells=("32 x 32 x 3", "trained on 64 x 64 x 3", "--frame-size 64 64"))
    sizes = ("--frame-size", 0, 64)
    refused(
        "data", "convert", world.dataset, "--out", world.out, *sizes, tells=("frame_size", "got 0", "greater than 0")
    )


def test_frames_of_another_dtype_are_refused(refused: Refused, world: World, tmp_path: Path) -> None:
    model = LatentActionModel.from_pretrained(world.lam)
    with pytest.raises(DataError, match="float32; expected uint8"):
        model.encode(np.zeros((2, 64, 64, 3), np.float32), np.zeros((2, 64, 64, 3), np.float32))
    write_dataset(tmp_path / "deep", num_episodes=2, length=3)
    rewrite_column(tmp_path / "deep", CAMERA, lambda cell: {**cell, "bytes": deep_picture()})
    told = ("None of the 2 episodes", "16", "8 bits")
    refused("data", "convert", tmp_path / "deep", "--out", world.out, tells=told)


def test_data_without_actions_teach_no_translator(refused: Refused, world: World) -> None:
    for arguments in readers_of_stores(world, world.silent_store)[1:4]:
        refused(*arguments, tells=("silent_store holds no actions", "--no-actions"))


def test_actions_out_of_range_are_refused_when_the_store_is_built(
    refused: Refused, world: World, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "wild", num_episodes=3)
    rewrite_column(tmp_path / "wild", "action", lambda value: 99.0)
    told = ("None of the 3 episodes", "action dimension 0 holds 99", "from 0 to 17", "flexlam data check")
    refused("data", "convert", tmp_path / "wild", "--out", world.out, tells=told)
    assert run_command("data", "check", tmp_path / "wild").code == 1


def test_episodes_with_bad_actions_are_left_out_and_named(tmp_path: Path) -> None:
    write_dataset(tmp_path / "some", num_episodes=3, length=4, spec=ActionSpec(num_continuous=2))
    cells = iter(range(12))
    rewrite_column(tmp_path / "some", "action", lambda value: [float("nan"), 0.0] if next(cells) == 5 else value)
    said = run_command("data", "convert", tmp_path / "some", "--out", tmp_path / "store")
    assert said.code == 0 and "2 episodes, 8 frames" in said.out
    assert "Left out: episode 1: episode 1: actions contain NaN or infinity" in said.out
    checked = run_command("data", "check", tmp_path / "some", "--json")
    assert checked.code == 1 and [row["episode"] for row in json.loads(checked.out)["rows"]] == ["episode 1"]


def test_a_store_whose_actions_were_damaged_later_is_refused(refused: Refused, world: World, tmp_path: Path) -> None:
    run_command("data", "convert", world.dataset, "--out", tmp_path / "store")
    table = pq.read_table(tmp_path / "store" / "index.parquet")
    for bad, told in ((float("nan"), "NaN or infinity"), (18.0, "holds 18; expected a whole number from 0 to 17")):
        actions = pa.array(np.full(len(table), bad, np.float32))
        place = table.column_names.index("action_0")
        pq.write_table(table.set_column(place, "action_0", actions), tmp_path / "store" / "index.parquet")
        for arguments in readers_of_stores(world, tmp_path / "store")[1:4]:
            refused(*arguments, tells=("store", told))


# ---- a translator and its model


def test_a_translator_refuses_the_codes_of_another_model(world: World) -> None:
    with pytest.raises(CheckpointError, match="trained on the codes of model") as refusal:
        load_translator(world.translator / "model", LatentActionModel.from_pretrained(world.other).hash)
    assert "flexlam train translator" in str(refusal.value)


# ---- what acts


def test_a_policy_or_translator_of_another_model_is_refused(refused: Refused, world: World, tmp_path: Path) -> None:
    own, other = (LatentActionModel.from_pretrained(path).hash or "" for path in (world.lam, world.other))
    for arguments in acting(world, lam=world.other):
        refused(*arguments, tells=("predicts the codes of model", own, other, "flexlam train policy"))
    settings = ("vizdoom-tiny", "--lam", world.other, "--data", world.store, "--out", tmp_path / "policy")
    assert run_command("train", "policy", *settings, *LAM_SETTINGS).code == 0
    latency = acting(world, lam=world.other, policy=tmp_path / "policy")[-1]
    refused(*latency, tells=("trained on the codes of model", own, other, "flexlam train translator"))


def test_parts_that_are_missing_unfinished_or_something_else_are_refused(
    refused: Refused, world: World, tmp_path: Path
) -> None:
    unfinished = shutil.copytree(world.policy, tmp_path / "policy")
    shutil.rmtree(unfinished / "model")
    for arguments in acting(world, policy=world.nowhere):
        refused(*arguments, tells=(str(world.nowhere),))
    for arguments in acting(world, policy=unfinished):
        refused(*arguments, tells=(str(unfinished), "not finished"))
    for arguments in acting(world, policy=world.translator):
        refused(*arguments, tells=("holds a translator", "a sequence-model"))
    refused(*acting(world, translator=world.nowhere)[-1], tells=(str(world.nowhere),))
    refused(*acting(world, translator=world.policy)[-1], tells=("holds a sequence-model", "expected a translator"))
    for arguments in acting(world, lam=world.policy):
        refused(*arguments, tells=("is a policy run", "expected a lam or joint run"))


def test_a_sequence_model_is_not_fine_tuned(refused: Refused, world: World) -> None:
    model = ("vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--policy", world.policy)
    tune = ("train", "tuned-policy", *model, "--translator", world.translator, "--out", world.out)
    refused(*tune, tells=("holds a sequence-model", "no gradient", "--policy.name flow"))


def test_a_suite_or_task_in_which_nobody_can_act_is_refused(refused: Refused, world: World) -> None:
    pytest.importorskip("vizdoom")
    act, *_ = acting(world)
    refused(*act, "--suite", "vizdom", tells=("'vizdom'", "Did you mean 'vizdoom'?"))
    refused(*act, tells=("no task 'a' in both", str(world.store)))
    refused(*act, "--tasks", "my_way_home", tells=("no task 'my_way_home' in both", str(world.store)))


def test_settings_of_acting_out_of_range_are_refused(refused: Refused, world: World) -> None:
    act, _, latency = acting(world)
    least = "greater than or equal to"
    refused(*act, "--num-environments", 0, tells=("--num-environments: got 0", f"{least} 1"))
    refused(*act, "--num-workers", 0, tells=("--num-workers: got 0", f"{least} 1"))
    refused(*act, "--num-episodes", 1, tells=("--num-episodes: got 1", f"{least} 2"))
    refused(*act, "--rule.num-samples", 0, tells=("--rule.num-samples: got 0", f"{least} 1"))
    refused(*act, "--rule.temperature", -1, tells=("--rule.temperature: got -1", f"{least} 0"))
    refused(*act, "--baselines", "clonign", tells=("clonign",))
    refused(*latency, "--num-steps", 0, tells=("--num-steps: got 0", f"{least} 1"))
    refused(*latency, "--prefix-lengths", 9, tells=("prefix_length is 9", "0 to 4"))
    train = ("train", "policy", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--out", world.out)
    refused(*train, "--policy.patch-size", 7, tells=("patch_size 7", "64×64", "divisor"))
    refused(*train, "--policy.context-frames", 4, tells=("context_frames is 4", "stride 4"))
    refused(*train, "--first-context-frames", 99, tells=("99 exceeds", "context"))
    short = ("--policy.transformer.num-key-heads", 3)
    refused(*train, *short, tells=("num_key_heads",))


# ---- datasets gone wrong


def rewrite_column(dataset: Path, name: str, change: Callable[[object], object]) -> None:
    """Every cell of a column of a recorded dataset, as `change` gives it."""
    for file in (dataset / "data").rglob("*.parquet"):
        table = pq.read_table(file)
        place = table.column_names.index(name)
        cells = pa.array([change(cell) for cell in table[name].to_pylist()], table.schema.field(name).type)
        pq.write_table(table.set_column(place, table.schema.field(name), cells), file)


def deep_picture() -> bytes:
    """A picture of 16 bits a pixel, such as a depth camera makes."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(file, "PNG")
    return file.getvalue()

"""Places that cannot be written, disks that are full, folders in use: exit code 2, nothing half-written."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_line import LAM_SETTINGS, World, run_command

Refused = Callable[..., str]


def writers(world: World, out: object) -> list[tuple[object, ...]]:
    """Every command that writes a folder, told to write this one."""
    model = ("vizdoom-tiny", "--lam", world.lam, "--data", world.store)
    return [
        ("collect", "vizdoom-tiny", "--out", out),
        ("data", "convert", world.dataset, "--out", out),
        ("train", "lam", "vizdoom-tiny", "--data", world.store, "--out", out),
        ("train", "translator", *model, "--out", out),
        ("train", "joint", *model, "--out", out),
        ("train", "policy", *model, "--out", out),
    ]


@pytest.fixture
def run_folder(world: World, tmp_path: Path) -> Path:
    """A finished run of stage 1 that a test may spoil."""
    return shutil.copytree(world.lam, tmp_path / "lam")


def train_lam(world: World, out: Path) -> tuple[object, ...]:
    return ("train", "lam", "vizdoom-tiny", "--data", world.store, "--out", out, *LAM_SETTINGS)


# ---- places


def test_a_place_that_cannot_be_written_is_refused(refused: Refused, world: World) -> None:
    """Root may write anywhere that is a folder, so these are none, or the kernel's own."""
    manifest = world.store / "manifest.json"
    for place in (manifest / "below", manifest / "far" / "below", "/proc/flexlam", "/proc/far/flexlam", "/dev/null/x"):
        for arguments in writers(world, place):
            refused(*arguments, tells=(str(place), "cannot be written", "--out"))
    for arguments in writers(world, manifest):
        refused(*arguments, tells=(str(manifest), "is a file", "give a folder"))
    for arguments in writers(world, world.folder / ("x" * 300)):
        refused(*arguments, tells=("File name too long",))


def test_figures_that_cannot_be_written_are_an_error(refused: Refused, world: World) -> None:
    arguments = ("eval", "reconstruction", "vizdoom-tiny", "--lam", world.lam, "--data", world.store)
    refused(*arguments, "--json", "/proc/figures.json", tells=("/proc/figures.json", "cannot be written"))


def test_a_folder_in_use_is_refused_without_overwrite(refused: Refused, world: World) -> None:
    for arguments in writers(world, world.translator):
        refused(*arguments, tells=(str(world.translator), "already holds something", "--overwrite"))


def test_the_data_that_a_command_reads_are_never_replaced(refused: Refused, world: World) -> None:
    told = ("would replace", "another --out")
    for out in (world.store, world.folder):
        refused("train", "lam", "vizdoom-tiny", "--data", world.store, "--out", out, "--overwrite", tells=told)
    refused("data", "convert", world.dataset, "--out", world.dataset, "--overwrite", tells=told)
    model = ("vizdoom-tiny", "--lam", world.lam, "--data", world.store)
    for verb in ("joint", "policy"):
        for out in (world.lam, world.folder):
            refused("train", verb, *model, "--out", out, "--overwrite", tells=told)


# ---- resuming


def test_resume_and_overwrite_together_are_refused(refused: Refused, world: World) -> None:
    told = ("--resume and --overwrite contradict each other", "start anew")
    refused(*train_lam(world, world.lam), "--resume", "--overwrite", tells=told)
    joint = ("train", "joint", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--out", world.out)
    refused(*joint, "--resume", "--overwrite", tells=told)


def test_only_a_run_of_the_same_kind_is_resumed(refused: Refused, world: World) -> None:
    for place in (world.out, world.dataset):
        refused(*train_lam(world, place), "--resume", tells=("not a run folder", "run.json"))
    refused(*train_lam(world, world.translator), "--resume", tells=("is a translator run", "expected a lam run"))


def test_a_run_is_resumed_with_its_own_settings_and_data_only(refused: Refused, world: World) -> None:
    told = ("started with other settings or data", "--overwrite")
    refused(*train_lam(world, world.lam), "--resume", "--training.seed", 3, tells=(*told, "(training.seed)"))
    other = ("train", "lam", "vizdoom-tiny", "--data", world.silent_store, "--out", world.lam, *LAM_SETTINGS)
    refused(*other, "--resume", tells=(*told, "(data)"))
    policy = ("train", "policy", "vizdoom-tiny", "--data", world.store, "--out", world.policy, *LAM_SETTINGS)
    refused(*policy, "--lam", world.lam, "--first-share", 0.5, "--resume", tells=(*told, "(first_share)"))
    refused(*policy, "--lam", world.other, "--resume", tells=(*told, "(lam)"))


def test_a_run_that_stopped_before_its_end_is_resumed(world: World, run_folder: Path) -> None:
    shutil.rmtree(run_folder / "model")
    refusal = run_command("eval", "reconstruction", "vizdoom-tiny", "--lam", run_folder, "--data", world.store)
    assert refusal.code == 2 and "has not finished" in refusal.err and "--resume" in refusal.err
    said = run_command(*train_lam(world, run_folder), "--resume")
    assert said.code == 0 and "had finished before" not in said.out
    assert (run_folder / "model" / "manifest.json").read_text() == (world.lam / "model" / "manifest.json").read_text()


def test_a_policy_that_stopped_before_its_end_is_resumed_to_the_same_weights(world: World, tmp_path: Path) -> None:
    part = shutil.copytree(world.policy, tmp_path / "policy")
    shutil.rmtree(part / "model")
    arguments = ("train", "policy", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, "--out", part)
    said = run_command(*arguments, *LAM_SETTINGS, "--resume")
    assert said.code == 0 and "had finished before" not in said.out, said.err
    assert (part / "model" / "manifest.json").read_text() == (world.policy / "model" / "manifest.json").read_text()


# ---- checkpoints


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "bundle.json", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_a_damaged_checkpoint_is_refused(
    refused: Refused, world: World, run_folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(run_folder / "model" / name)
    arguments = ("--lam", run_folder, "--data", world.store)
    message = refused("eval", "reconstruction", "vizdoom-tiny", *arguments, tells=(str(run_folder),))
    assert any(words in message for words in ("damaged", "missing", "has not finished", "format version")), message
    refused("train", "translator", "vizdoom-tiny", *arguments, "--out", world.out, tells=(str(run_folder),))


def test_a_checkpoint_to_resume_from_that_is_damaged_is_refused(
    refused: Refused, world: World, run_folder: Path
) -> None:
    shutil.rmtree(run_folder / "model")
    (newest,) = (run_folder / "checkpoint").iterdir()
    flip_a_bit(newest / "module.safetensors")
    told = (str(newest / "module.safetensors"), "does not match manifest.json")
    refused(*train_lam(world, run_folder), "--resume", tells=told)


def test_another_format_version_or_kind_is_refused(refused: Refused, world: World, run_folder: Path) -> None:
    arguments = ("eval", "reconstruction", "vizdoom-tiny", "--lam", run_folder, "--data", world.store)
    header = json.loads((run_folder / "model" / "bundle.json").read_text())
    (run_folder / "model" / "bundle.json").write_text(json.dumps(header | {"format_version": 99}))
    refused(*arguments, tells=("format version 99", "reads 1", "Install the version"))
    shutil.rmtree(run_folder / "model")
    shutil.copytree(world.translator / "model", run_folder / "model")
    refused(*arguments, tells=("holds a translator", "expected a latent-action-model"))


def test_damaged_run_settings_are_refused(refused: Refused, world: World, run_folder: Path) -> None:
    for text in ("{", "[]", '{"kind": "lam"}', '{"kind": "lam", "config": {}, "parents": {}}'):
        (run_folder / "run.json").write_text(text)
        arguments = ("eval", "reconstruction", "vizdoom-tiny", "--lam", run_folder, "--data", world.store)
        refused(*arguments, tells=(str(run_folder),))
        refused(*train_lam(world, run_folder), "--resume", tells=(str(run_folder),))


# ---- a full disk


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("num_bytes", [0, 1000, 100_000])
def test_a_full_disk_leaves_no_store(refused: Refused, world: World, num_bytes: int) -> None:
    with full_disk(num_bytes):
        refused("data", "convert", world.dataset, "--out", world.out, tells=("no room left", "Free some space"))


def test_a_limit_that_no_game_can_live_with_is_told_before_recording(refused: Refused, world: World) -> None:
    """Full disks while episodes are written: tests/data/test_lerobot_writer.py."""
    pytest.importorskip("vizdoom")
    arguments = ("collect", "vizdoom-tiny", "--tasks", "health_gathering", "--num-frames", 24, "--out", world.out)
    with full_disk(20_000):
        refused(*arguments, tells=("may not grow beyond 20000 bytes", "Raise the limit"))


@pytest.mark.parametrize("num_bytes", [0, 1000, 20_000])
def test_a_full_disk_stops_a_policy_with_a_message(world: World, tmp_path: Path, num_bytes: int) -> None:
    arguments = ("train", "policy", "vizdoom-tiny", "--lam", world.lam, "--data", world.store, *LAM_SETTINGS)
    with full_disk(num_bytes):
        said = run_command(*arguments, "--out", tmp_path / "run")
    assert said.code == 2 and "no room left" in said.err and "Traceback" not in said.err, said.err
    assert not [path.name for path in tmp_path.rglob("*") if ".partial" in path.name or path.name == "model"]


@pytest.mark.parametrize("num_bytes", [0, 1000, 100_000, 300_000])
def test_a_full_disk_stops_training_with_a_message(world: World, tmp_path: Path, num_bytes: int) -> None:
    """Whatever fits first: no file at all, run.json, metrics, the model without its optimiser."""
    with full_disk(num_bytes):
        said = run_command(*train_lam(world, tmp_path / "run"))
    assert said.code == 2 and "no room left" in said.err and "Traceback" not in said.err, said.err
    partial = [path.name for path in tmp_path.rglob("*") if ".partial" in path.name or path.name == "model"]
    assert not partial
    if num_bytes >= 100_000:  # the run had begun, and goes on where it was
        assert run_command(*train_lam(world, tmp_path / "run"), "--resume").code == 0
        assert sum(1 for _ in (tmp_path / "run" / "checkpoint").iterdir()) == 1


def test_a_full_disk_in_a_process_of_its_own(world: World, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flexlam", *map(str, train_lam(world, tmp_path / "run"))]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "no room left" in done.stderr and "Traceback" not in done.stderr

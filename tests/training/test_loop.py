import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from flexlam.core.errors import CheckpointError, OutputError, TrainingError
from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.training.lam import LamStage, train_lam
from flexlam.training.loop import train
from flexlam.training.pairs import load_pairs
from moving_square import square_store
from tiny import lam_run, loop


def weights(run: RunFolder) -> str:
    return file_hash(run.model / "model.safetensors")


class Interrupted(LamStage):
    """Breaks down at a step, as a killed process would."""

    at = 17

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        if step == self.at:
            raise RuntimeError("power cut")
        return super().loss(step)


def test_a_run_resumed_after_a_break_ends_with_the_same_bits(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lam_run(30)
    whole = train_lam(config, store.path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("flexlam.training.lam.LamStage", Interrupted)
        with pytest.raises(RuntimeError, match="power cut"):
            train_lam(config, store.path, tmp_path / "broken")
    assert RunFolder.open(tmp_path / "broken", "lam").checkpoints() == [10]
    resumed = train_lam(config, store.path, tmp_path / "broken", resume=True)
    assert weights(resumed) == weights(whole)
    timing = {"transitions_per_second"}
    strip = [{k: v for k, v in row.items() if k not in timing} for row in resumed.metrics()]
    assert strip == [{k: v for k, v in row.items() if k not in timing} for row in whole.metrics()]


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(store: FrameStore, tmp_path: Path) -> None:
    first = train_lam(lam_run(5), store.path, tmp_path / "a")
    again = train_lam(lam_run(5), store.path, tmp_path / "b")
    other = train_lam(lam_run(5, seed=1), store.path, tmp_path / "c")
    assert weights(first) == weights(again) != weights(other)


def test_muon_adamw_and_flow_runs_resume_exactly_too(store: FrameStore, tmp_path: Path) -> None:
    for number, config in enumerate(
        [
            lam_run(12, optimizer={"name": "adamw"}, checkpoint_every=6),
            lam_run(12, model={"decoder": {"name": "flow", "patch_size": 4, "dim": 32, "depth": 1, "num_heads": 2}}),
        ]
    ):
        whole = train_lam(config, store.path, tmp_path / f"whole{number}")
        out = tmp_path / f"half{number}"
        stop_after = 7
        run = RunFolder.create(out, "lam", config.model_dump(mode="json"), {"data": store.content_hash})
        stage = LamStage(config, load_pairs(store.path, config.pairs), run)
        original = stage.loss

        def loss(step: int, original=original, stop_after=stop_after) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[no-untyped-def]
            if step == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)  # a polite stop finishes the step and writes a checkpoint
            return original(step)

        stage.loss = loss  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt, match="step 8"):
            train(stage, config.training, run, "stopped")
        assert run.checkpoints() == [8]
        assert weights(train_lam(config, store.path, out, resume=True)) == weights(whole)


COMMAND = (
    "import sys; sys.path.insert(0, {tests!r}); import torch; torch.set_num_threads(1)\n"
    "from pathlib import Path; from tiny import lam_run; from flexlam.training.lam import train_lam\n"
    "train_lam(lam_run(60, checkpoint_every=3, evaluate_every=30), Path({store!r}), Path({out!r}), resume={resume})"
)


def in_a_process(store: FrameStore, out: Path, resume: bool) -> subprocess.Popen[bytes]:
    code = COMMAND.format(tests=str(Path(__file__).parents[1]), store=str(store.path), out=str(out), resume=resume)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def kill_somewhere_and_resume(store: FrameStore, out: Path, seed: int) -> RunFolder:
    process = in_a_process(store, out, resume=False)
    wanted = random.Random(seed).randint(3, 50)
    while process.poll() is None:
        steps = [int(f.name) for f in (out / "checkpoint").glob("0*")] if (out / "checkpoint").exists() else []
        if max(steps, default=0) >= wanted:
            process.kill()
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert not (out / "model").exists()
    assert in_a_process(store, out, resume=True).wait() == 0
    return RunFolder.open(out, "lam")


def test_sigkill_then_resume_ends_with_the_same_bits(store: FrameStore, tmp_path: Path) -> None:
    whole = train_lam(lam_run(60, checkpoint_every=3, evaluate_every=30), store.path, tmp_path / "whole")
    assert weights(kill_somewhere_and_resume(store, tmp_path / "killed", seed=int(time.time()))) == weights(whole)


@pytest.mark.slow
def test_sigkill_then_resume_three_times_out_of_three(store: FrameStore, tmp_path: Path) -> None:
    whole = train_lam(lam_run(60, checkpoint_every=3, evaluate_every=30), store.path, tmp_path / "whole")
    for seed in range(3):
        assert weights(kill_somewhere_and_resume(store, tmp_path / f"killed{seed}", seed)) == weights(whole)


def test_resuming_with_other_settings_or_data_is_refused(store: FrameStore, tmp_path: Path) -> None:
    train_lam(lam_run(5), store.path, tmp_path / "run")
    with pytest.raises(OutputError, match=r"training\.num_steps"):
        train_lam(lam_run(6), store.path, tmp_path / "run", resume=True)
    other = square_store(tmp_path, num_episodes=12, seed=7)
    with pytest.raises(OutputError, match="data"):
        train_lam(lam_run(5), other.path, tmp_path / "run", resume=True)
    with pytest.raises(CheckpointError, match="not a run folder"):
        train_lam(lam_run(5), store.path, tmp_path / "nowhere", resume=True)


def test_a_damaged_newest_checkpoint_is_reported_not_used(store: FrameStore, tmp_path: Path) -> None:
    train_lam(lam_run(10), store.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")  # as if the run had not finished
    path = tmp_path / "run" / "checkpoint" / "00000010" / "module.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        train_lam(lam_run(10), store.path, tmp_path / "run", resume=True)


class Exploding:
    """A stage whose loss is not finite from a step on."""

    def __init__(self) -> None:
        self.module = nn.Linear(2, 1)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        value = self.module(torch.ones(1, 2)).sum()
        return value * (float("nan") if step == 7 else 1.0), {}

    def evaluate(self, step: int) -> dict[str, float]:
        return {}


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "lam", {}, {})
    with pytest.raises(TrainingError, match="step 7"):
        train(Exploding(), loop(20, checkpoint_every=5), run, "explodes")
    assert run.checkpoints() == [5]


def test_metrics_go_to_the_trackers_and_the_run_folder(store: FrameStore, tmp_path: Path) -> None:
    run = train_lam(lam_run(10, trackers=("tensorboard",)), store.path, tmp_path / "run")
    rows = run.metrics()
    assert [row["step"] for row in rows if "loss" in row] == [5, 10]
    assert {"validation/error_over_copy", "validation/bits_used"} <= rows[-1].keys()
    assert list((run.path / "tensorboard").iterdir())
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"].startswith(torch.__version__.split("+")[0])

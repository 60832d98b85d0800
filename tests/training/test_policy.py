"""Stage 2: windows that keep to their episodes, a growing context, no labels, and a resume that is exact."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from flexlam.core.errors import CheckpointError, ConfigError, OutputError
from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.causal import CausalConfig
from flexlam.policy.autoregressive import SequenceModel
from flexlam.training.codes import encode_all
from flexlam.training.lam import train_lam
from flexlam.training.pairs import PairConfig
from flexlam.training.policy import PolicyRunConfig, WindowIndex, train_policy
from moving_square import square_store
from tiny import lam_run, loop

MODEL = SequenceModel.Config(
    context_frames=10,
    stride=4,
    patch_size=4,
    transformer=CausalConfig(dim=32, depth=1, num_heads=2, num_key_heads=1, head_dim=16, hidden_dim=32),
)


def policy_run(num_steps: int = 30, **training: object) -> PolicyRunConfig:
    return PolicyRunConfig(
        policy=MODEL, first_context_frames=5, first_share=0.5, training=loop(num_steps, batch_size=4, **training)
    )


def test_a_window_begins_at_every_transition_and_ends_with_its_episode(store: FrameStore) -> None:
    index = TransitionIndex.build(store, episodes=[5, 2, 7])
    windows = WindowIndex(index)
    assert len(windows) == len(index)
    rows, valid = windows.rows(np.arange(len(index)), 6)
    assert (rows[:, 0] == np.arange(len(index))).all() and valid[:, 0].all()
    for window in range(len(index)):
        inside = rows[window][valid[window]]
        assert len(set(index.episode[inside])) == 1
        np.testing.assert_array_equal(np.diff(index.step[inside]), 1)
        if not valid[window].all():
            assert inside[-1] + 1 == len(index) or index.episode[inside[-1] + 1] != index.episode[inside[-1]]


def test_it_learns_to_predict_codes_better_than_without_frames(
    store: FrameStore, learned: RunFolder, tmp_path: Path
) -> None:
    run = train_policy(policy_run(150, evaluate_every=75), learned.path, store.path, tmp_path / "policy")
    found = [row for row in run.metrics() if "validation/loss" in row]
    assert len(found) == 2
    lam = LatentActionModel.from_pretrained(learned.path)
    assert found[-1]["validation/decision_loss"] < 0.8 * np.log(lam.quantizer.codebook_size)
    assert found[-1]["validation/loss"] < found[0]["validation/loss"]
    policy = SequenceModel.from_pretrained(run.path, lam.hash)
    assert policy.num_slots == lam.num_slots and policy.lam_hash == lam.hash


def test_the_context_grows_and_the_batch_shrinks(
    store: FrameStore, learned: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    loss = SequenceModel.loss

    def noting(self: SequenceModel, images: Tensor, codes: Tensor, valid: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        shapes.append(tuple(images.shape[:2]))
        return loss(self, images, codes, valid)

    monkeypatch.setattr(SequenceModel, "loss", noting)
    train_policy(policy_run(6, evaluate_every=6), learned.path, store.path, tmp_path / "policy")
    assert shapes[:6] == [(9, 4)] * 3 + [(4, 9)] * 3  # as many frames in all


def test_a_stopped_run_resumes_to_the_same_weights(store: FrameStore, learned: RunFolder, tmp_path: Path) -> None:
    whole = train_policy(policy_run(20), learned.path, store.path, tmp_path / "whole")
    part = tmp_path / "part"
    shutil.copytree(whole.path, part)
    shutil.rmtree(part / "model")
    RunFolder.open(part, "policy")
    latest = part / "checkpoint" / "00000020"
    assert latest.exists()
    cut = train_policy(policy_run(20, checkpoint_every=7), learned.path, store.path, tmp_path / "cut")
    assert file_hash(cut.model / "model.safetensors") == file_hash(whole.model / "model.safetensors")
    resumed = train_policy(policy_run(20), learned.path, store.path, part, resume=True)
    assert file_hash(resumed.model / "model.safetensors") == file_hash(whole.model / "model.safetensors")
    with pytest.raises(OutputError, match="other settings"):
        train_policy(policy_run(21), learned.path, store.path, part, resume=True)


def test_actions_are_not_needed(tmp_path: Path, learned: RunFolder) -> None:
    bare = square_store(tmp_path, spec=None)
    run = train_policy(policy_run(3), learned.path, bare.path, tmp_path / "policy")
    assert run.finished


def test_codes_are_those_of_the_model_and_computed_once(
    store: FrameStore, learned: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lam = LatentActionModel.from_pretrained(learned.path)
    index = TransitionIndex.build(store, episodes=range(3))
    codes = encode_all(lam, store, index, tmp_path / "codes.npy")
    batch = index.batch(store, np.arange(len(index)))
    np.testing.assert_array_equal(codes, lam.encode(batch.obs, batch.next_obs).indices.numpy())
    monkeypatch.setattr(LatentActionModel, "encode", lambda *a: pytest.fail("encoded again"))
    np.testing.assert_array_equal(encode_all(lam, store, index, tmp_path / "codes.npy"), codes)


def test_a_model_of_frames_further_apart_is_refused(store: FrameStore, tmp_path: Path) -> None:
    config = lam_run(3).model_copy(update={"pairs": PairConfig(gap_steps=2)})
    lam = train_lam(config, store.path, tmp_path / "lam")
    with pytest.raises(ConfigError, match="2 steps apart"):
        train_policy(policy_run(3), lam.path, store.path, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_what_is_no_model_is_refused_before_anything_is_written(store: FrameStore, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        train_policy(policy_run(3), tmp_path / "nothing", store.path, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_a_context_that_would_shrink_is_refused() -> None:
    with pytest.raises(ConfigError, match="the context grows"):
        PolicyRunConfig.parse({"policy": {"context_frames": 10}, "first_context_frames": 11})

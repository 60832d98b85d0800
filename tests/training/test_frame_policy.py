"""Stage 2 of flow and regression: it learns, resumes to the bit, reads no labels, and says how it is doing."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flexlam.core.errors import ConfigError, OutputError
from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.model import load_policy
from flexlam.policy.regression import RegressionPolicy
from flexlam.training.codes import StoredLatents
from flexlam.training.lam import train_lam
from flexlam.training.policy import PolicyRunConfig, train_policy
from moving_square import square_store
from small_spaces import TRUNK
from tiny import lam_run, loop


def policy_run(name: str = "flow", num_steps: int = 30, **settings: Any) -> PolicyRunConfig:
    policy = {"name": name, "trunk": TRUNK, "hidden_dim": 64, **settings}
    return PolicyRunConfig.parse({"policy": policy, "training": loop(num_steps, batch_size=32)})


@pytest.mark.parametrize(("name", "policy_class"), [("flow", FlowPolicy), ("regression", RegressionPolicy)])
def test_it_learns_and_leaves_a_policy_of_that_model(
    name: str, policy_class: type, store: FrameStore, learned: RunFolder, tmp_path: Path
) -> None:
    run = train_policy(policy_run(name, 60), learned.path, store.path, tmp_path / "policy")
    found = [row for row in run.metrics() if "validation/loss" in row]
    assert found[-1]["validation/loss"] < found[0]["validation/loss"]
    assert ("validation/energy_distance" in found[-1]) == ("validation/sampled_error" in found[-1]) == (name == "flow")
    lam = LatentActionModel.from_pretrained(learned.path)
    policy = load_policy(run.path, lam.hash)
    assert type(policy) is policy_class and policy.space.prefix_sampling == lam.config.prefix_sampling
    header = run.header["config"]
    assert header["policy"]["name"] == name and "first_share" not in header


def test_latents_are_normalised_by_those_of_the_training_transitions(
    store: FrameStore, learned: RunFolder, tmp_path: Path
) -> None:
    run = train_policy(policy_run(num_steps=2), learned.path, store.path, tmp_path / "policy")
    lam = LatentActionModel.from_pretrained(learned.path)
    policy = load_policy(run.path, lam.hash)
    codes = np.load(run.path / "codes" / "train.npy")
    latents = lam.quantizer.indices_to_latents(torch.from_numpy(codes.astype(np.int64)))
    torch.testing.assert_close(policy.centre, (latents.amax(0) + latents.amin(0)) / 2)
    spread = latents.std(0, correction=0)
    torch.testing.assert_close(policy.scale, torch.where(spread > 1e-6, spread, torch.ones_like(spread)))


def test_a_stopped_run_resumes_to_the_same_weights(store: FrameStore, learned: RunFolder, tmp_path: Path) -> None:
    config = policy_run(num_steps=20, num_frames=2, frame_stride=2)
    whole = train_policy(config, learned.path, store.path, tmp_path / "whole")
    part = tmp_path / "part"
    shutil.copytree(whole.path, part)
    shutil.rmtree(part / "model")
    shutil.rmtree(part / "checkpoint")
    short = config.model_copy(update={"training": config.training.model_copy(update={"checkpoint_every": 7})})
    cut = train_policy(short, learned.path, store.path, tmp_path / "cut")
    assert file_hash(cut.model / "model.safetensors") == file_hash(whole.model / "model.safetensors")
    resumed = train_policy(config, learned.path, store.path, part, resume=True)
    assert file_hash(resumed.model / "model.safetensors") == file_hash(whole.model / "model.safetensors")
    assert [row["step"] for row in resumed.metrics()] == [row["step"] for row in whole.metrics()]
    with pytest.raises(OutputError, match=r"policy\.target"):
        other = policy_run(num_steps=20, num_frames=2, frame_stride=2, target="vector")
        train_policy(other, learned.path, store.path, part, resume=True)


def test_actions_are_not_needed_and_continuous_latents_are_kept_as_they_are(learned: RunFolder, tmp_path: Path) -> None:
    bare = square_store(tmp_path, num_episodes=8, spec=None)
    continuous = {"quantizer": {"name": "continuous", "dim": 2}, "prefix_sampling": "full"}
    config = lam_run(4)
    config = type(config).parse({**config.model_dump(), "lam": {**config.lam.model_dump(), **continuous}})
    train_lam(config, bare.path, tmp_path / "lam")
    run = train_policy(policy_run(num_steps=3), tmp_path / "lam", bare.path, tmp_path / "policy")
    lam = LatentActionModel.from_pretrained(tmp_path / "lam")
    index = TransitionIndex.build(bare, episodes=[0])
    kept = StoredLatents(lam, bare, index, tmp_path / "latents.npy")
    batch = index.batch(bare, np.array([3, 1]))
    torch.testing.assert_close(kept[np.array([3, 1])], lam.encode(batch.obs, batch.next_obs).latents)
    low, high, std = kept.statistics()
    everything = kept[np.arange(len(kept))]
    torch.testing.assert_close(torch.stack([low, high]), torch.stack([everything.amin(0), everything.amax(0)]))
    torch.testing.assert_close(std, everything.std(0, correction=0))
    assert run.finished and np.load(run.path / "codes" / "train.npy").dtype == np.float32


def test_settings_of_a_sequence_model_are_written_as_before_there_were_others() -> None:
    config = PolicyRunConfig()
    values = config.model_dump(mode="json")
    assert set(values) == {"policy", "first_context_frames", "first_share", "training"}
    assert set(values["policy"]) == {"context_frames", "stride", "patch_size", "stem", "transformer"}
    assert PolicyRunConfig.parse(values) == config and isinstance(config.policy, SequenceModel.Config)
    flow = policy_run(num_frames=2)
    assert PolicyRunConfig.parse(flow.model_dump(mode="json")) == flow
    with pytest.raises(ConfigError, match=r"policy.contxt_frames: unknown setting. Did you mean 'context_frames'"):
        PolicyRunConfig.parse({"policy": {"contxt_frames": 9}})
    with pytest.raises(ConfigError, match=r"no policy called 'flaw'\. Did you mean 'flow'"):
        PolicyRunConfig.parse({"policy": {"name": "flaw"}})

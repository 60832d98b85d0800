"""Fine-tuning: labels shape policy and decoder through the Euler steps, resumable, and only what can learn so."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from flexlam.bottleneck.continuous import Continuous
from flexlam.bottleneck.fsq import FSQ
from flexlam.bottleneck.vq import VQ
from flexlam.core.action import ActionSpec
from flexlam.core.errors import CheckpointError, ConfigError, DataError, OutputError
from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.labels import LabelBudget, LabelSet
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.lam.model import LatentActionModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.model import load_policy
from flexlam.policy.regression import RegressionPolicy
from flexlam.training.frame_policy import space_of
from flexlam.training.lam import train_lam
from flexlam.training.pairs import PairConfig, load_pairs
from flexlam.training.policy import PolicyRunConfig, train_policy
from flexlam.training.translator import TranslatorRunConfig, train_translator, train_translator_by_hand
from flexlam.training.tuned_policy import (
    TunedPolicyConfig,
    TunedPolicyStage,
    _prefix_weights,
    draw_latents,
    train_tuned_policy,
)
from flexlam.translator.model import build_translator, load_translator
from flexlam.translator.serving import PerPrefixTranslator
from moving_square import DISCRETE, FPS, moving_square, square_store
from small_policy import TRANSFORMER
from small_spaces import TRUNK, frame_policy
from tiny import FIT, lam_run, loop

LABELS = LabelBudget(count=150)
CONFIG = TunedPolicyConfig(labels=LABELS, training=loop(80, batch_size=32, evaluate_every=20, checkpoint_every=80))


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Moving squares on a ground whose colour tells the action that follows."""
    path = tmp_path_factory.mktemp("telling")
    with LeRobotWriter(path / "recording", FPS, (16, 16, 3), DISCRETE) as writer:
        for number in range(16):
            episode = moving_square(30, number, task="ab"[number % 2])
            frames, actions = episode.frames.copy(), episode.columns.actions
            assert actions is not None
            frames[:, :6] = (50 * actions[:, 0]).astype("uint8")[:, None, None, None]
            writer.write_episode(episode.task, frames, episode.columns)
    build_store(
        LeRobotReader(path / "recording"), path / "store", StoreConfig(frame_size=None), announce=lambda _: None
    )
    return FrameStore.open(path / "store")


@pytest.fixture(scope="module")
def start(telling: FrameStore, learned: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, two policies of it that know little yet, and a translator."""
    here, lam = tmp_path_factory.mktemp("start"), learned.path
    for name in ("flow", "regression"):
        policy = {"name": name, "trunk": TRUNK, "hidden_dim": 64}
        config = PolicyRunConfig.parse({"policy": policy, "training": loop(20, batch_size=32)})
        train_policy(config, lam, telling.path, here / name)
    train_translator(TranslatorRunConfig(labels=LABELS, fit=FIT), lam, telling.path, here / "translator")
    return {"lam": lam, "policy": here / "flow", "translator": here / "translator", "data": telling.path}


def tune(start: dict[str, Path], out: Path, config: TunedPolicyConfig = CONFIG, **changed: Any) -> RunFolder:
    resume = changed.pop("resume", False)
    return train_tuned_policy(config, **start | changed, out=out, resume=resume)


@pytest.mark.parametrize("quantizer", [FSQ.Config(levels=(5, 5)), VQ.Config(dim=2), Continuous.Config(dim=2)])
@pytest.mark.parametrize(("policy_class", "prefix_length"), [(FlowPolicy, 3), (FlowPolicy, 2), (RegressionPolicy, 2)])
def test_gradients_reach_the_policy_through_steps_and_projection(
    policy_class: type, prefix_length: int, quantizer: Any
) -> None:
    policy = frame_policy(policy_class)
    bottleneck = {FSQ.Config: FSQ, VQ.Config: VQ, Continuous.Config: Continuous}[type(quantizer)](quantizer, 3).eval()
    images = torch.rand(5, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = draw_latents(policy, bottleneck, images, prefix_length, 3, torch.Generator().manual_seed(1))
    torch.testing.assert_close(bottleneck.project(latents[:, :prefix_length])[0], latents[:, :prefix_length])
    assert not latents[:, prefix_length:].any()
    latents.sum().backward()
    unmoved = [name for name, weights in policy.named_parameters() if weights.grad is None or not weights.grad.any()]
    assert not unmoved


def test_no_gradient_pushes_latents_out_of_their_range() -> None:
    policy, quantizer = frame_policy(RegressionPolicy), Continuous(Continuous.Config(dim=2), 3).eval()
    policy.set_statistics(*(torch.full((3, 2), value) for value in (1.5, 2.5, 0.1)))  # all it says lies near 2
    draw_latents(policy, quantizer, torch.zeros(2, 1, 3, 8, 8), 3, 3, torch.Generator()).sum().backward()
    assert not any(weights.grad.any() for weights in policy.parameters() if weights.grad is not None)


def test_every_euler_step_has_a_part_in_the_gradient() -> None:
    """The gradient through three steps is not that of the last one."""
    policy, quantizer = frame_policy(FlowPolicy), Continuous(Continuous.Config(dim=2), 3).eval()
    asked: list[torch.Tensor] = []
    original = policy._predict

    def remembered(*arguments: torch.Tensor) -> torch.Tensor:
        asked.append(original(*arguments))
        asked[-1].retain_grad()
        return asked[-1]

    policy._predict = remembered  # type: ignore[method-assign]
    generator = torch.Generator().manual_seed(1)
    draw_latents(policy, quantizer, torch.zeros(2, 1, 3, 8, 8), 3, 3, generator).square().sum().backward()
    assert len(asked) == 3 and all(step.grad is not None and step.grad.any() for step in asked)


@pytest.mark.parametrize("name", ["flow", "regression"])
def test_where_the_frame_tells_the_action_it_is_learned(start: dict[str, Path], tmp_path: Path, name: str) -> None:
    policy = start["translator"].parent / name
    run = tune(start, tmp_path / "tuned", policy=policy)
    losses = [row["validation/loss"] for row in run.metrics() if "validation/loss" in row]
    assert losses[-1] < losses[0] and losses[-1] < 0.5, "guessing costs 1.61 nats"
    lam = LatentActionModel.from_pretrained(start["lam"])
    before, after = load_policy(policy, lam.hash), load_policy(run.path, lam.hash)
    assert type(after) is type(before) and after.hash != before.hash and after.lam_hash == lam.hash
    assert torch.equal(after.centre, before.centre) and torch.equal(after.scale, before.scale)
    assert not torch.equal(after.trunk.state_dict().popitem()[1], before.trunk.state_dict().popitem()[1])
    first, tuned = (load_translator(path, lam.hash) for path in (start["translator"], run.path))
    assert all(
        not torch.equal(*pair) for pair in zip(first.network.parameters(), tuned.network.parameters(), strict=True)
    )
    assert torch.equal(first.prefix.null_latent, tuned.prefix.null_latent), "frozen, as promised"


def test_a_run_knows_what_it_was_made_from(start: dict[str, Path], telling: FrameStore, tmp_path: Path) -> None:
    short = CONFIG.model_copy(update={"training": loop(2)})
    run = tune(start, tmp_path / "tuned", short)
    lam = LatentActionModel.from_pretrained(start["lam"])
    assert run.header["kind"] == "tuned-policy"
    assert run.header["parents"]["policy"] == load_policy(start["policy"], lam.hash).hash
    assert set(run.header["parents"]) == {"lam", "data", "policy", "translator"}
    index = load_pairs(telling.path, PairConfig()).train
    ours, its = (LabelSet.load(path / "labels.parquet", index).rows for path in (run.path, start["translator"]))
    assert set(ours) == set(its), "no label that the decoder had not seen"
    again = tune(start, tmp_path / "again", short, policy=run.path, translator=run.path)
    assert again.header["parents"]["policy"] == load_policy(run.path, lam.hash).hash, "its parts start another run"


def test_a_resumed_run_ends_with_the_same_bits(
    start: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"training": loop(30)})
    whole = tune(start, tmp_path / "whole", config)
    original = TunedPolicyStage.loss

    def breaks(self: TunedPolicyStage, step: int) -> object:
        if step == 15:
            raise RuntimeError("power cut")
        return original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(TunedPolicyStage, "loss", breaks)
        with pytest.raises(RuntimeError):
            tune(start, tmp_path / "half", config)
    resumed = tune(start, tmp_path / "half", config, resume=True)
    for part in ("model", "translator"):
        assert file_hash(whole.path / part / "model.safetensors") == file_hash(
            resumed.path / part / "model.safetensors"
        )
    shutil.rmtree(resumed.path / "translator")
    tune(start, tmp_path / "half", config, resume=True)
    assert (resumed.path / "translator" / "manifest.json").exists(), "killed between the two"
    with pytest.raises(OutputError, match="num_steps"):
        tune(start, tmp_path / "half", config.model_copy(update={"num_steps": 4}), resume=True)


def test_what_cannot_be_tuned_is_refused(
    start: dict[str, Path], telling: FrameStore, learned: RunFolder, tmp_path: Path
) -> None:
    model = {"context_frames": 10, "stride": 4, "patch_size": 4, "transformer": TRANSFORMER}
    config = PolicyRunConfig.parse({"policy": model, "first_context_frames": 6, "training": loop(1)})
    train_policy(config, learned.path, telling.path, tmp_path / "sequence")
    with pytest.raises(ConfigError, match="no gradient passes through a draw"):
        tune(start, tmp_path / "tuned", policy=tmp_path / "sequence")
    train_lam(lam_run(2), telling.path, tmp_path / "other")
    with pytest.raises(CheckpointError, match="predicts the codes of model"):
        tune(start, tmp_path / "tuned", lam=tmp_path / "other")
    bare = square_store(tmp_path / "bare", num_episodes=8, spec=None)
    with pytest.raises(DataError, match="has no actions"):
        tune(start, tmp_path / "tuned", data=bare.path)
    choices = square_store(tmp_path / "choices", num_episodes=8, spec=ActionSpec(num_choices=(5, 2)))
    with pytest.raises(DataError, match="whose labels it was fitted to"):
        tune(start, tmp_path / "tuned", data=choices.path)
    with pytest.raises(DataError, match="only"):
        tune(start, tmp_path / "tuned", CONFIG.model_copy(update={"labels": LabelBudget(count=10**6)}))
    assert not (tmp_path / "tuned").exists()


def test_every_k_is_one_of_the_model_and_of_the_translator(start: dict[str, Path]) -> None:
    lam = LatentActionModel.from_pretrained(start["lam"])
    policy = FlowPolicy(FlowPolicy.Config(trunk=TRUNK, hidden_dim=8), lam.frame_shape, space_of(lam))

    def weights(served: tuple[int, ...], sampling: str = "uniform") -> list[float]:
        policy.space = policy.space.model_copy(update={"prefix_sampling": sampling})
        config = PerPrefixTranslator.Config(prefix_lengths=served)
        translator = build_translator(config, DISCRETE, lam.prefix.null_latent, lam.num_slots)
        return [float(weight > 0) for weight in _prefix_weights(policy, translator)]

    assert weights((0, 1, 2, 3, 4)) == [0, 1, 1, 1, 1]
    assert weights((0, 1, 4)) == [0, 1, 0, 0, 1]
    assert weights((1, 4), "full") == [0, 0, 0, 0, 1]
    for served, sampling in (((1, 2), "full"), ((0,), "uniform")):
        with pytest.raises(ConfigError, match="none of these above 0"):
            weights(served, sampling)


def test_labels_written_by_hand_teach_a_tuned_policy_where_nothing_else_is_known(
    start: dict[str, Path], telling: FrameStore, tmp_path: Path
) -> None:
    bare = square_store(tmp_path / "bare", num_episodes=16, spec=None)
    names = [bare.episodes.names[number] for number in (0, 1, 2, 3)]
    lines = [f"{name},{frame},{'up' if frame % 2 else 'down'}" for name in names for frame in (2, 5)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,frame,action", *lines]) + "\n")
    train_translator_by_hand(
        TranslatorRunConfig(fit=FIT), start["lam"], bare.path, tmp_path / "labels.csv", tmp_path / "translator"
    )
    config = TunedPolicyConfig(training=loop(2, batch_size=4))
    run = tune(start, tmp_path / "tuned", config, translator=tmp_path / "translator", data=bare.path)
    assert (run.path / "labels.csv").read_bytes() == (tmp_path / "labels.csv").read_bytes()
    assert not any("validation/loss" in row for row in run.metrics())
    again = tune(start, tmp_path / "again", config, policy=run.path, translator=run.path, data=bare.path)
    assert (again.path / "labels.csv").exists(), "a tuned pair can be tuned on"
    with pytest.raises(DataError, match="there is no episode"):
        other = square_store(tmp_path / "other", num_episodes=3, spec=None)
        tune(start, tmp_path / "no", config, translator=tmp_path / "translator", data=other.path)


def test_fewer_labels_than_a_batch_are_all_of_them(start: dict[str, Path], telling: FrameStore, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"labels": LabelBudget(count=5), "training": loop(2)})
    run = tune(start, tmp_path / "tuned", config)
    assert len(LabelSet.load(run.path / "labels.parquet", load_pairs(telling.path, PairConfig()).train)) == 5

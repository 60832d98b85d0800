from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from flexlam.core.errors import DataError, OutputError
from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.lam.model import LatentActionModel
from flexlam.training.lam import LamRunConfig, LamStage, train_lam
from flexlam.training.pairs import load_pairs
from known_world import SPLIT, known_store
from tiny import ENCODER, REGRESSION, lam_run


def permute_actions(recording: Path, copy: Path) -> Path:
    """The same recording with every action moved to another step."""
    for file in recording.rglob("*"):
        target = copy / file.relative_to(recording)
        if file.is_dir():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    for file in (copy / "data").rglob("*.parquet"):
        table = pq.read_table(file)
        column = table.column_names.index("action")
        order = np.random.default_rng(0).permutation(len(table))
        moved = table["action"].take(pa.array(order))
        assert not moved.equals(table["action"])
        pq.write_table(table.set_column(column, table.schema.field(column), moved), file)
    return copy


def test_permuting_every_recorded_action_leaves_stage_1_bit_identical(store: FrameStore, tmp_path: Path) -> None:
    permuted = permute_actions(store.path.parent / "recording", tmp_path / "permuted")
    reader = LeRobotReader(permuted)
    build_store(reader, tmp_path / "store", StoreConfig(frame_size=None), announce=lambda _: None)
    other = FrameStore.open(tmp_path / "store")
    assert not np.array_equal(other.actions, store.actions)
    runs = [train_lam(lam_run(15), data, tmp_path / name) for data, name in ((store.path, "a"), (other.path, "b"))]
    a, b = (file_hash(run.model / "model.safetensors") for run in runs)
    assert a == b


def test_codes_and_prefixes_are_learned(learned: RunFolder) -> None:
    health = learned.read_json("health.json")
    curve = {int(k): error for k, error in health["prefix_curve"].items()}
    assert curve[1] < 0.9 * curve[0], "one code tells where the square went"
    assert curve[4] <= curve[1] * 1.02
    assert health["shuffle_ratio"] > 1.2
    assert health["verdict"] in ("ready to align", "still learning")


def test_the_learned_null_latent_coincides_with_no_code(learned: RunFolder) -> None:
    model = LatentActionModel.from_pretrained(learned.model)
    start = model.quantizer.null_init()
    assert not torch.equal(model.prefix.null_latent, start), "it was trained"
    assert model.quantizer.distance_to_codes(model.prefix.null_latent) > 0.05


def test_a_fixed_k_model_is_a_setting(store: FrameStore, tmp_path: Path) -> None:
    fixed = lam_run(5, model={"num_slots": 2, "prefix_sampling": "full"})
    run = train_lam(fixed, store.path, tmp_path / "fixed")
    model = LatentActionModel.from_pretrained(run.path)
    assert model.num_slots == 2
    assert model.prefix.null_latent.grad is None
    # Never shown a prefix, its null latent stays where it started.
    assert torch.equal(model.prefix.null_latent, model.quantizer.null_init())


# ---- twins, gaps, augmentation


def small_run(num_steps: int = 4, **values: object) -> LamRunConfig:
    """For frames of 8 x 8."""
    model = {"encoder": ENCODER, "decoder": REGRESSION, "num_slots": 2}
    plain = lam_run(num_steps, model, batch_size=8, checkpoint_every=2, evaluate_every=num_steps)
    return LamRunConfig.parse({**plain.model_dump(mode="json"), "pairs": SPLIT.model_dump(mode="json"), **values})


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[FrameStore, FrameStore]:
    path = tmp_path_factory.mktemp("twins")
    return known_store(path / "a", num_episodes=12, length=14), known_store(
        path / "b", num_episodes=12, length=14, background=1
    )


def seen(stage: LamStage, step: int) -> dict[str, Any]:
    """What a step shows to its objectives."""
    shown: dict[str, Any] = {}

    def loss(model: object, batch: object, twin: object, labelled: object, action: object, generator: object) -> object:
        shown.update(batch=batch, twin=twin, labelled=labelled, action=action)
        return torch.zeros(()), {}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage.composed, "loss", loss, raising=False)
        stage.loss(step)
    return shown


def stage_of(config: LamRunConfig, store: FrameStore, tmp_path: Path, twin: FrameStore | None = None) -> LamStage:
    return LamStage(config, load_pairs(store.path, config.pairs), RunFolder.plan(tmp_path, "lam", {}, {}), twin)


CROSS = {"objectives": {"main": {"name": "cross-exogenous"}}}


def test_twins_are_the_same_moves_and_are_changed_alike(twins: tuple[FrameStore, FrameStore], tmp_path: Path) -> None:
    store, twin = twins
    plain = seen(stage_of(small_run(**CROSS), store, tmp_path, twin), 3)
    assert torch.equal(plain["batch"][1][:, :, :2], plain["twin"][1][:, :, :2]), "the same game"
    assert not torch.equal(plain["batch"][1][:, :, 2:], plain["twin"][1][:, :, 2:]), "before another background"
    changed = small_run(**CROSS, augmentation={"max_shift": 1, "brightness": 0.3}, max_gaps=3)
    shown = seen(stage_of(changed, store, tmp_path, store), 3)  # a twin that differs nowhere
    assert all(torch.equal(a, b) for a, b in zip(shown["batch"], shown["twin"], strict=True))
    assert not torch.equal(shown["batch"][0], plain["batch"][0])


def test_gaps_are_random_and_within_the_episode(twins: tuple[FrameStore, FrameStore], tmp_path: Path) -> None:
    store, _ = twins
    stage = stage_of(small_run(max_gaps=3), store, tmp_path)
    rows = np.arange(len(stage.pairs.train))
    reached, again, later = stage._reaching(rows, 0), stage._reaching(rows, 0), stage._reaching(rows, 1)
    assert {*(reached.second - reached.first).tolist()} == {1, 2, 3}
    assert np.array_equal(reached.second, again.second) and not np.array_equal(reached.second, later.second)
    owner = np.repeat(np.arange(store.num_episodes), store.episodes.lengths)
    assert np.array_equal(owner[reached.second], reached.episode)
    plain = stage_of(small_run(), store, tmp_path)._reaching(rows, 0)
    assert np.array_equal(plain.second, stage.pairs.train.second)


def test_labelled_transitions_are_shown_with_their_actions(
    twins: tuple[FrameStore, FrameStore], tmp_path: Path
) -> None:
    labels = {"name": "action-supervision", "labels": {"count": 12}, "batch_size": 5}
    stage = stage_of(small_run(objectives={"auxiliary": labels}, max_gaps=4), twins[0], tmp_path)
    shown = seen(stage, 0)
    obs, next_obs = ((frames[:, 0, 0, 0] + 1) * 127.5 for frames in shown["labelled"])
    moved = (next_obs - obs).round().long() % 256
    assert torch.equal(moved, shown["action"][:, 0].long()), "over a single gap: an action is of one step"


def test_a_run_with_a_twin_remembers_it_and_goes_on_with_no_other(
    twins: tuple[FrameStore, FrameStore], tmp_path: Path
) -> None:
    store, twin = twins
    run = train_lam(small_run(**CROSS), store.path, tmp_path / "run", twin=twin.path)
    assert run.header["parents"] == {"data": store.content_hash, "twin": twin.content_hash}
    rows = [row for row in run.metrics() if "main_loss" in row]
    assert rows and all(row["auxiliary_loss"] == 0 for row in rows)
    other = known_store(tmp_path, num_episodes=12, length=14, background=2)
    with pytest.raises(OutputError, match="twin"):
        train_lam(small_run(**CROSS), store.path, tmp_path / "run", resume=True, twin=other.path)
    with pytest.raises(DataError, match="no twins"):
        train_lam(small_run(**CROSS), store.path, tmp_path / "no", twin=store.path)
    assert not (tmp_path / "no").exists()


AUXILIARY = {
    "features": ({"main": {"name": "features", "patch_size": 4, "dim": 16, "depth": 1}}, False),
    "flow": (
        {"auxiliary": {"name": "optical-flow", "block_size": 4, "reach": 1, "dim": 16}, "num_endogenous": 1},
        False,
    ),
    "twins": (
        {
            "main": {"name": "cross-exogenous"},
            "auxiliary": {"name": "action-supervision", "labels": {"count": 12}},
            "num_endogenous": 1,
        },
        True,
    ),
}


@pytest.mark.parametrize("name", AUXILIARY)
def test_a_broken_run_with_other_objectives_goes_on_to_the_same_bits(
    twins: tuple[FrameStore, FrameStore], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objectives, paired = AUXILIARY[name]
    store, twin = twins[0], twins[1].path if paired else None
    config = small_run(5, objectives=objectives, augmentation={"max_shift": 1, "brightness": 0.1}, max_gaps=2)
    whole = train_lam(config, store.path, tmp_path / "whole", twin=twin)
    original = LamStage.loss

    def loss(stage: LamStage, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if step == 3:
            raise RuntimeError("power cut")
        return original(stage, step)

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(LamStage, "loss", loss)
        train_lam(config, store.path, tmp_path / "broken", twin=twin)
    assert RunFolder.open(tmp_path / "broken", "lam").checkpoints() == [2]
    resumed = train_lam(config, store.path, tmp_path / "broken", resume=True, twin=twin)
    assert file_hash(resumed.model / "model.safetensors") == file_hash(whole.model / "model.safetensors")
    (last,) = (run.checkpoint_path(5) / "module.safetensors" for run in (resumed,))
    assert file_hash(last) == file_hash(whole.checkpoint_path(5) / "module.safetensors"), "networks beside it, too"
    model = LatentActionModel.from_pretrained(resumed.model)
    assert not any("objectives" in key for key in model.state_dict()), "they are left behind"

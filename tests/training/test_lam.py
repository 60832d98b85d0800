from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from flexlam.core.files import file_hash
from flexlam.core.run_folder import RunFolder
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.lam.model import LatentActionModel
from flexlam.training.lam import train_lam
from tiny import lam_run


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

from flexlam.core.run_folder import RunFolder
from flexlam.data.store import FrameStore
from flexlam.study.plan import plan_lam
from flexlam.training.pairs import load_pairs
from tiny import lam_run


def test_what_is_counted_is_what_training_takes(store: FrameStore, learned: RunFolder) -> None:
    config = lam_run(400)
    plan = plan_lam(config, store.path)
    pairs = load_pairs(store.path, config.pairs)
    assert plan.num_transitions == len(pairs.train)
    assert abs(plan.epochs - 400 * config.training.batch_size / len(pairs.train)) < 1e-9
    checkpoint = next((learned.path / "checkpoint").iterdir())
    on_disk = sum(file.stat().st_size for file in checkpoint.glob("*.safetensors"))
    assert 0.9 < plan.checkpoint_bytes / on_disk < 1.1
    assert plan.seconds_per_step > 0 and plan.hours == plan.seconds_per_step * 400 / 3600
    assert plan.flops_per_step > 6 * plan.num_parameters and plan.memory_bytes > 1e8
    assert "GFLOP" in plan.table().to_text()


def test_twice_the_model_costs_more(store: FrameStore) -> None:
    config = lam_run(400)
    encoder = config.lam.encoder.model_copy(update={"depth": 4 * config.lam.encoder.depth})
    larger = config.model_copy(update={"lam": config.lam.model_copy(update={"encoder": encoder})})
    small, large = plan_lam(config, store.path), plan_lam(larger, store.path)
    assert large.flops_per_step > small.flops_per_step and large.num_parameters > small.num_parameters

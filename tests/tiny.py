"""Settings that fit the moving square: seconds of training on one core."""

from flexlam.lam.decoders.flow import FlowDecoder
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.training.fit import FitConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.loop import LoopConfig
from flexlam.training.optimizer import OptimizerConfig

ENCODER = PairEncoder.Config(patch_size=4, dim=32, depth=1, num_heads=2)
REGRESSION = RegressionDecoder.Config(patch_size=4, dim=32, depth=2, num_heads=2)
FLOW = FlowDecoder.Config(patch_size=4, dim=32, depth=2, num_heads=2)
FIT = FitConfig(max_steps=60, evaluate_every=10, patience=3, num_folds=2)


def loop(num_steps: int = 30, **changes: object) -> LoopConfig:
    values = {
        "num_steps": num_steps,
        "batch_size": 16,
        "log_every": 5,
        "evaluate_every": 10,
        "checkpoint_every": 10,
        "device": "cpu",
        "precision": "fp32",
        "trackers": (),
        "optimizer": OptimizerConfig(learning_rate=3e-3, warmup_steps=10),
    }
    return LoopConfig.parse(values | changes)


def lam_run(num_steps: int = 30, model: dict[str, object] | None = None, **training: object) -> LamRunConfig:
    settings = {"num_slots": 4, "encoder": ENCODER, "decoder": REGRESSION} | (model or {})
    return LamRunConfig(lam=LatentActionModel.Config(**settings), training=loop(num_steps, **training))

"""The study of LAFP at two sizes: seconds (tests), two CPU cores."""

from typing import Any

from flexlam.acting.recording import RecordingConfig
from flexlam.bottleneck.continuous import Continuous
from flexlam.bottleneck.fsq import FSQ
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.regression import RegressionPolicy
from flexlam.policy.trunk import TrunkConfig
from flexlam.presets.vizdoom import small_policy
from flexlam.study.config import DecidingConfig, LafpConfig, LafpFactorsConfig, LafpUnionConfig, PaceConfig
from flexlam.study.lafp_games_sizes import cpu_games, tiny_games
from flexlam.study.pieces.models import loop
from flexlam.training.fit import FitConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.policy import PolicyRunConfig
from flexlam.training.tuned_policy import OPTIMIZER
from flexlam.translator.base import HourglassConfig
from flexlam.translator.serving import PrefixSampledTranslator


def tiny_lafp(lam: LatentActionModel.Config) -> LafpConfig:
    """LAFP in seconds."""
    small: dict[str, Any] = {"trunk": TrunkConfig(patch_size=16, channels=(8,)), "hidden_dim": 16}
    whole = lam.model_copy(update={"num_slots": 2, "prefix_sampling": "full", "quantizer": Continuous.Config(dim=4)})
    sequence = PolicyRunConfig(policy=small_policy(dim=32, depth=1), first_context_frames=6, training=loop(5, 4))
    two_routes = LafpConfig(
        recording=_two_routes(500),
        lam=LamRunConfig(lam=whole, training=loop(10, 16)),
        flow=PolicyRunConfig(policy=FlowPolicy.Config(**small), training=loop(10, 16)),
        regression=PolicyRunConfig(policy=RegressionPolicy.Config(**small), training=loop(10, 16)),
        deciding=DecidingConfig(
            fit=FitConfig(max_steps=20, evaluate_every=10, num_folds=2),
            num_episodes=3,
            num_environments=3,
            num_choices=4,
            num_transitions=20,
        ),
        pace=PaceConfig(num_rounds=2, num_decisions=2),
        factors=LafpFactorsConfig(
            num_steps=(1, 3),
            num_slots=(1,),
            interpolations=(0.0, 0.9),
            label_fractions=(0.5,),
            num_width_seeds=1,
            num_episodes=2,
            fine_tuning=loop(5, 16, OPTIMIZER),
            action_weight=0.1,
        ),
        union=LafpUnionConfig(
            lam=LamRunConfig(lam=lam, training=loop(10, 16)),
            sequence=sequence,
            prefix_lengths=(1, 4),
            num_steps=(1, 3),
            num_seeds=1,
            num_episodes=2,
        ),
    )
    return two_routes.model_copy(update={"games": tiny_games(two_routes)})


def cpu_lafp() -> LafpConfig:
    """Eight slots of 16 numbers (the paper's width of 128 in all), and slots of FSQ over which prefixes are taken."""
    trunk: dict[str, Any] = {"patch_size": 16, "dim": 64, "depth": 2, "num_heads": 2}
    whole = LatentActionModel.Config(
        num_slots=8,
        prefix_sampling="full",
        encoder=PairEncoder.Config(**trunk),
        quantizer=Continuous.Config(dim=16),
        decoder=RegressionDecoder.Config(**trunk),
    )
    prefixes = whole.model_copy(update={"prefix_sampling": "uniform", "quantizer": FSQ.Config()})
    small: dict[str, Any] = {"trunk": TrunkConfig(patch_size=8, channels=(32, 32)), "hidden_dim": 256}
    training = loop(1500, 128, OptimizerConfig(name="adamw", learning_rate=1e-3))
    # A decoder that shrinks what it says by a quarter never leaves the niche, so nothing is left out at random.
    network = HourglassConfig(dropout=0, input_dropout=0)
    two_routes = LafpConfig(
        recording=_two_routes(6000),
        lam=LamRunConfig(lam=whole, training=loop(400, 64)),
        flow=PolicyRunConfig(policy=FlowPolicy.Config(**small), training=training),
        regression=PolicyRunConfig(policy=RegressionPolicy.Config(**small), training=training),
        deciding=DecidingConfig(
            translator=PrefixSampledTranslator.Config(network=network, use_prev_action=False),
            fit=FitConfig(learning_rate=1e-3, weight_decay=0.01),
        ),
        pace=PaceConfig(num_decisions=25),
        factors=LafpFactorsConfig(
            num_slots=(2, 8, 16), num_width_seeds=5, fine_tuning=loop(500, 64, OPTIMIZER), action_weight=0.1
        ),
        union=LafpUnionConfig(
            lam=LamRunConfig(lam=prefixes, training=loop(400, 64)),
            sequence=PolicyRunConfig(
                policy=small_policy(dim=64, depth=2), first_context_frames=6, training=loop(300, 16)
            ),
            num_seeds=5,
        ),
    )
    return two_routes.model_copy(update={"games": cpu_games(two_routes)})


def _two_routes(num_frames: int) -> RecordingConfig:
    """Episodes of the expert; the seed is none of those on which settings were tried (docs/log.md)."""
    return RecordingConfig(suite="two-routes", tasks=("two-routes",), num_frames=num_frames, behaviour="expert", seed=1)

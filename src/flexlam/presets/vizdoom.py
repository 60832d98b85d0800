"""ViZDoom at three sizes: seconds (tests), minutes on two CPU cores (the demo), a GPU."""

from flexlam.acting.agent import DrawRule
from flexlam.acting.recording import RecordingConfig
from flexlam.bottleneck.fsq import FSQ
from flexlam.data.labels import LabelBudget
from flexlam.envs.vizdoom import VizdoomSuite
from flexlam.evaluate.alignment import AlignmentConfig
from flexlam.evaluate.contenders import BLIND
from flexlam.evaluate.latency import LatencyConfig
from flexlam.evaluate.reconstruction import ReconstructionConfig
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.lam.decoders.flow import FlowDecoder
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.nn.causal import CausalConfig
from flexlam.policy.autoregressive import SequenceModel
from flexlam.presets.base import Preset
from flexlam.training.cloning import CloningConfig
from flexlam.training.fit import FitConfig
from flexlam.training.inverse_dynamics import IDM_FIT
from flexlam.training.joint import JointConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.loop import LoopConfig
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.policy import PolicyRunConfig
from flexlam.training.translator import TranslatorRunConfig
from flexlam.training.tuned_policy import OPTIMIZER, TunedPolicyConfig
from flexlam.translator.base import HourglassConfig
from flexlam.translator.serving import PrefixSampledTranslator


def vizdoom_tiny() -> Preset:
    """Everything once, too small to learn much: for tests and for trying commands out (seconds)."""
    translator = PrefixSampledTranslator.Config(network=HourglassConfig(wide_dim=32, narrow_dim=16, num_blocks=1))
    fit = FitConfig(max_steps=40, evaluate_every=10, patience=2, num_folds=2)
    labels = LabelBudget(count=64)
    model = LatentActionModel.Config(
        num_slots=4,
        encoder=PairEncoder.Config(dim=32, depth=1, num_heads=2),
        decoder=RegressionDecoder.Config(patch_size=16, dim=32, depth=1, num_heads=2),
    )
    loop = LoopConfig(num_steps=40, batch_size=16, log_every=10, evaluate_every=10, checkpoint_every=10)
    return Preset(
        recording=RecordingConfig(tasks=("health_gathering", "predict_position"), num_frames=400),  # of short episodes
        lam=LamRunConfig(lam=model, training=loop),
        policy=PolicyRunConfig(policy=small_policy(dim=32, depth=1), first_context_frames=6, training=loop),
        translator=TranslatorRunConfig(translator=translator, labels=labels, fit=fit),
        joint=JointConfig(translator=translator, labels=labels, training=loop),
        tuned_policy=TunedPolicyConfig(training=loop.model_copy(update={"optimizer": OPTIMIZER})),
        alignment=AlignmentConfig(translator=translator, labels=labels, num_draws=2, fit=fit, idm_draws=1, idm_fit=fit),
        reconstruction=ReconstructionConfig(num_transitions=64),
        returns=ReturnsConfig(
            translator=translator.model_copy(update={"use_prev_action": False}),
            labels=labels,
            fit=fit,
            cloning=CloningConfig(num_steps=20, fit=fit),
            idm_fit=fit,
            rule=DrawRule(num_samples=2, temperature=0.5),
            num_episodes=2,
            num_choice_episodes=1,
        ),
        latency=LatencyConfig(num_warmup=2, num_steps=5),
    )


def vizdoom_small() -> Preset:
    """The demo: `flexlam demo`. Figures and their machine: README.

    Every size here is ours, chosen for two CPU cores; the translator's p(k) and its use of a_{t-1} are the paper's.
    """
    return Preset(
        recording=RecordingConfig(tasks=("health_gathering", "my_way_home"), num_frames=16_000),
        lam=LamRunConfig(
            lam=LatentActionModel.Config(num_slots=8, decoder=RegressionDecoder.Config(patch_size=16)),
            training=LoopConfig(num_steps=1000, batch_size=64, evaluate_every=250, checkpoint_every=250),
        ),
        policy=PolicyRunConfig(
            policy=small_policy(dim=96, depth=2),
            first_context_frames=6,
            training=LoopConfig(num_steps=700, batch_size=28, evaluate_every=700, checkpoint_every=350),
        ),
        alignment=AlignmentConfig(num_draws=4, idm_draws=1, idm_fit=IDM_FIT.model_copy(update={"max_steps": 100})),
        returns=ReturnsConfig(
            rule=DrawRule(num_samples=8, temperature=0.25),
            cloning=CloningConfig(num_steps=600),
            baselines=("random", *BLIND, "shuffled", "cloning", "cloning_same_labels"),
            num_environments=50,
            num_episodes_beside=12,
            fewer_episodes={"my_way_home": 5},
            num_choice_episodes=2,
        ),
    )


def vizdoom() -> Preset:
    """One GPU, all tasks, the paper's proportions: flow decoder, K = 64. Not yet run.

    Sizes that the paper's text lost are inferred from its first author's public code (docs/fidelity.md).
    """
    return Preset(
        recording=RecordingConfig(tasks=VizdoomSuite.tasks, num_frames=200_000),
        lam=LamRunConfig(
            lam=LatentActionModel.Config(
                num_slots=64,
                encoder=PairEncoder.Config(patch_size=8, dim=384, depth=8, num_heads=6),
                quantizer=FSQ.Config(levels=(7, 5, 5, 5, 5)),
                decoder=FlowDecoder.Config(patch_size=4, dim=384, depth=12, num_heads=6),
            ),
            training=LoopConfig(
                num_steps=200_000,
                batch_size=256,
                optimizer=OptimizerConfig(learning_rate=3e-4, warmup_steps=1000),
                log_every=100,
                evaluate_every=5000,
                checkpoint_every=5000,
            ),
        ),
        policy=PolicyRunConfig(
            policy=SequenceModel.Config(
                context_frames=34,
                stride=8,
                patch_size=8,
                transformer=CausalConfig(
                    dim=512, depth=8, num_heads=8, num_key_heads=4, head_dim=64, hidden_dim=1536, rope_theta=1e6
                ),
            ),
            training=LoopConfig(
                num_steps=100_000,
                batch_size=32,
                optimizer=OptimizerConfig(learning_rate=3e-4, warmup_steps=1000),
                log_every=100,
                evaluate_every=5000,
                checkpoint_every=5000,
            ),
        ),
        returns=ReturnsConfig(num_environments=50, num_workers=1),
    )


def small_policy(dim: int, depth: int) -> SequenceModel.Config:
    """A sequence model for two CPU cores: six frames of context, heads of width 32."""
    heads = dim // 32
    transformer = CausalConfig(
        dim=dim, depth=depth, num_heads=heads, num_key_heads=heads, head_dim=32, hidden_dim=8 * dim // 3
    )
    return SequenceModel.Config(context_frames=6, stride=4, patch_size=16, stem=(48, 64), transformer=transformer)

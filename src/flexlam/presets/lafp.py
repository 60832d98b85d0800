"""LAFP (2606.10517) on a grid world at two sizes: seconds (tests), minutes on two CPU cores.

The paper's: a VQ latent action model with an action head on a tenth of the labels (weight: that share), whole codes, a
flow that predicts the latent, three Euler steps, one draw a decision, and the labels of the head for the translator.
Ours: the world, every size, and the translator's network and how it is fitted.
"""

from typing import Any

from flexlam.acting.agent import DrawRule
from flexlam.acting.recording import RecordingConfig
from flexlam.bottleneck.vq import VQ
from flexlam.data.labels import LabelBudget
from flexlam.evaluate.alignment import AlignmentConfig
from flexlam.evaluate.latency import LatencyConfig
from flexlam.evaluate.reconstruction import ReconstructionConfig
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.trunk import TrunkConfig
from flexlam.presets.base import Preset
from flexlam.training.cloning import CloningConfig
from flexlam.training.fit import FitConfig
from flexlam.training.joint import JointConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.loop import LoopConfig
from flexlam.training.objectives.action_supervision import ActionSupervision
from flexlam.training.objectives.composed import ObjectivesConfig
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.policy import PolicyRunConfig
from flexlam.training.translator import TranslatorRunConfig
from flexlam.training.tuned_policy import OPTIMIZER, TunedPolicyConfig
from flexlam.translator.base import HourglassConfig
from flexlam.translator.serving import PrefixSampledTranslator

LABEL_SHARE = 0.1
"""Share of the training transitions that is labelled, and the weight of the action head (the paper's)."""

_LABELS = LabelBudget(fraction=LABEL_SHARE)
_RULE = DrawRule(num_samples=1)
# Continuous actions have to come out as large as they were: dropout and a strong decay pull them towards their mean, so
# nothing is left out at random and little decays.
_WHOLE: dict[str, Any] = {"dropout": 0, "input_dropout": 0}
_GENTLE: dict[str, Any] = {"learning_rate": 1e-3, "weight_decay": 0.01}
_ADAM = OptimizerConfig(name="adamw", learning_rate=1e-3)


def flow_tiny() -> Preset:
    """Everything once, too small to learn much: for tests and for trying commands out (seconds)."""
    network = HourglassConfig(wide_dim=32, narrow_dim=16, num_blocks=1, **_WHOLE)
    translator = PrefixSampledTranslator.Config(network=network, use_prev_action=False)
    fit = FitConfig(max_steps=40, evaluate_every=10, patience=2, num_folds=2, **_GENTLE)
    loop = LoopConfig(num_steps=40, batch_size=16, log_every=10, evaluate_every=10, checkpoint_every=10)
    policy = FlowPolicy.Config(trunk=TrunkConfig(patch_size=8, channels=(16, 16)), hidden_dim=32)
    return Preset(
        recording=RecordingConfig(suite="gridworld", tasks=("grid4",), num_frames=400),
        lam=LamRunConfig(
            lam=LatentActionModel.Config(
                num_slots=2,
                prefix_sampling="full",
                encoder=PairEncoder.Config(patch_size=16, dim=32, depth=1, num_heads=2),
                quantizer=VQ.Config(codebook_size=16, dim=4),
                decoder=RegressionDecoder.Config(patch_size=16, dim=32, depth=1, num_heads=2),
            ),
            training=loop,
            objectives=_supervised(),
        ),
        policy=PolicyRunConfig(policy=policy, training=loop.model_copy(update={"optimizer": _ADAM})),
        translator=TranslatorRunConfig(translator=translator, labels=_LABELS, fit=fit),
        joint=JointConfig(translator=translator, labels=_LABELS, training=loop),
        tuned_policy=TunedPolicyConfig(training=loop.model_copy(update={"optimizer": OPTIMIZER})),
        alignment=AlignmentConfig(translator=translator, labels=_LABELS, num_draws=2, fit=fit, idm_draws=0),
        reconstruction=ReconstructionConfig(num_transitions=64),
        returns=ReturnsConfig(
            suite="gridworld",
            translator=translator,
            labels=_LABELS,
            fit=fit,
            cloning=CloningConfig(num_steps=20, fit=fit),
            idm_fit=fit,
            baselines=("random", "cloning_same_labels"),
            rule=_RULE,
            num_episodes=2,
            num_choice_episodes=1,
            prefix_lengths=(2,),
        ),
        latency=LatencyConfig(num_warmup=2, num_steps=5, rule=_RULE),
    )


def flow() -> Preset:
    """The pipeline for two CPU cores: `flexlam train policy flow --lam RUN --data STORE --out RUN`."""
    translator = PrefixSampledTranslator.Config(network=HourglassConfig(**_WHOLE), use_prev_action=False)
    fit = FitConfig(**_GENTLE)
    return Preset(
        recording=RecordingConfig(suite="gridworld", tasks=("grid8",), num_frames=20_000),
        lam=LamRunConfig(
            lam=LatentActionModel.Config(
                num_slots=2,
                prefix_sampling="full",
                quantizer=VQ.Config(codebook_size=64, dim=16),
                decoder=RegressionDecoder.Config(patch_size=16),
            ),
            training=LoopConfig(num_steps=1000, batch_size=64, evaluate_every=250, checkpoint_every=250),
            objectives=_supervised(),
        ),
        policy=PolicyRunConfig(
            policy=FlowPolicy.Config(),
            training=LoopConfig(
                num_steps=2000, batch_size=128, optimizer=_ADAM, evaluate_every=500, checkpoint_every=500
            ),
        ),
        translator=TranslatorRunConfig(translator=translator, labels=_LABELS, fit=fit),
        joint=JointConfig(translator=translator, labels=_LABELS),
        alignment=AlignmentConfig(translator=translator, labels=_LABELS, num_draws=4, fit=fit, idm_draws=1),
        returns=ReturnsConfig(
            suite="gridworld", translator=translator, labels=_LABELS, fit=fit, rule=_RULE, prefix_lengths=(2,)
        ),
        latency=LatencyConfig(rule=_RULE),
    )


def _supervised() -> ObjectivesConfig:
    """Reconstruction, and an action head on a share of the labels, weighted by that share."""
    return ObjectivesConfig(auxiliary=ActionSupervision.Config(labels=_LABELS), weight=LABEL_SHARE)

"""Studies at four sizes: seconds (tests), two CPU cores, one GPU, the paper's own."""

from flexlam.acting.agent import DrawRule
from flexlam.acting.recording import RecordingConfig
from flexlam.data.labels import LabelBudget
from flexlam.envs.overlay import Flicker
from flexlam.evaluate.latency import LatencyConfig
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.presets.vizdoom import small_policy
from flexlam.study.config import ActingConfig, JointStudyConfig, NarrowConfig, OursConfig, StudyConfig
from flexlam.training.cloning import CloningConfig
from flexlam.training.fit import FitConfig
from flexlam.training.joint import JointConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.loop import LoopConfig
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.policy import PolicyRunConfig
from flexlam.translator.base import HourglassConfig
from flexlam.translator.serving import PrefixEnsembleTranslator, PrefixSampledTranslator

EXPLORED = ("basic", "health_gathering", "my_way_home", "defend_the_center", "rocket_basic")
"""Tasks on which settings were tried (docs/log.md)."""
CONFIRMED = (
    "defend_the_line",
    "deadly_corridor",
    "health_gathering_supreme",
    "predict_position",
    "take_cover",
    "deathmatch",
)
"""The other tasks: nothing was chosen on them."""

ACTED = ("basic", "health_gathering", "defend_the_line")
"""Tasks in which cloning of all labels reached .3 in a throwaway prototype. No return in them was looked at in choosing
settings but health_gathering's, for the demo."""


def tiny() -> StudyConfig:
    """Everything once, in seconds; too small to show anything."""
    lam = LatentActionModel.Config(
        num_slots=4,
        encoder=PairEncoder.Config(dim=32, depth=1, num_heads=2),
        decoder=RegressionDecoder.Config(patch_size=16, dim=32, depth=1, num_heads=2),
    )
    network, fit = HourglassConfig(wide_dim=32, narrow_dim=16), FitConfig(max_steps=20, evaluate_every=10, num_folds=2)
    recording = RecordingConfig(tasks=("health_gathering", "predict_position"), num_frames=400)
    narrow = NarrowConfig(
        recording=recording,
        source="health_gathering",
        tested=("predict_position",),
        prefix_lengths=(1, 4),
        label_counts=(32,),
    )
    translator = PrefixSampledTranslator.Config(network=network)
    return StudyConfig(
        recording=recording,
        lam=LamRunConfig(lam=lam, training=_loop(20, 16)),
        seeds=(0, 1),
        prefix_lengths=(1, 4),
        label_counts=(32, 64),
        num_draws=2,
        translator=translator,
        fit=fit,
        weight_decays=(0.1, 1.0),
        ours=OursConfig(translator=PrefixEnsembleTranslator.Config(network=network)),
        acting=ActingConfig(
            tasks=("predict_position",),
            policy=PolicyRunConfig(policy=small_policy(dim=32, depth=1), first_context_frames=6, training=_loop(10, 8)),
            returns=ReturnsConfig(
                translator=translator.model_copy(update={"use_prev_action": False}),
                labels=LabelBudget(count=32),
                fit=fit,
                cloning=CloningConfig(num_steps=5, fit=fit),
                idm_fit=fit,
                rule=DrawRule(num_samples=2),
                num_episodes=2,
            ),
            latency=LatencyConfig(num_warmup=2, num_steps=5),
        ),
        narrow=narrow.model_copy(update={"acting_tasks": ("predict_position",)}),
        narrow_pair=narrow,
        joint=JointStudyConfig(
            num_labels=64, training=JointConfig(translator=translator, training=_loop(10, 16)), idm_fit=fit
        ),
    )


def cpu() -> StudyConfig:
    """Two CPU cores. Figures, their machine and their hours: docs/evidence.md."""
    lam = LatentActionModel.Config(
        num_slots=16, encoder=PairEncoder.Config(patch_size=16), decoder=RegressionDecoder.Config(patch_size=16)
    )
    return StudyConfig(
        recording=RecordingConfig(tasks=CONFIRMED, num_frames=8_000),
        lam=LamRunConfig(lam=lam, training=_loop(1000, 64)),
        seeds=(10, 11, 12, 13, 14),
        num_draws=3,
        acting=ActingConfig(
            tasks=ACTED,
            recording=RecordingConfig(tasks=ACTED, num_frames=8_000),
            policy=PolicyRunConfig(
                policy=small_policy(dim=96, depth=2), first_context_frames=6, training=_loop(700, 28)
            ),
            returns=ReturnsConfig(
                rule=DrawRule(num_samples=8, temperature=0.25),
                cloning=CloningConfig(num_steps=600),
                num_episodes=20,
                num_environments=20,
            ),
        ),
        narrow=NarrowConfig(
            recording=RecordingConfig(tasks=("arena", *EXPLORED, *CONFIRMED), num_frames=4_000),
            source="arena",
            tested=(*EXPLORED, *CONFIRMED),
            prefix_lengths=(2, 4, 16),
            label_counts=(128,),
        ),
        narrow_pair=NarrowConfig(
            recording=RecordingConfig(
                tasks=("basic", "health_gathering", "defend_the_center", "defend_the_line", "my_way_home"),
                num_frames=8_000,
                overlays=(Flicker.Config(),),
            ),
            source="health_gathering",
            tested=("my_way_home",),
            prefix_lengths=(1, 4, 16),
            label_counts=(128,),
        ),
        joint=JointStudyConfig(
            training=JointConfig(training=_loop(600, 64, OptimizerConfig(learning_rate=5e-4))),
        ),
    )


def _loop(num_steps: int, batch_size: int, optimizer: OptimizerConfig = OptimizerConfig()) -> LoopConfig:  # noqa: B008
    every = max(1, num_steps // 2)
    return LoopConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        optimizer=optimizer,
        evaluate_every=every,
        checkpoint_every=every,
        trackers=(),
    )

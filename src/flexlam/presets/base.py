"""What a preset settles: every stage from recording to evaluation."""

from collections.abc import Callable

from flexlam.acting.recording import RecordingConfig
from flexlam.core import catalog
from flexlam.core.config import Config
from flexlam.data.parts import StoreConfig
from flexlam.evaluate.alignment import AlignmentConfig
from flexlam.evaluate.latency import LatencyConfig
from flexlam.evaluate.probes import ProbesConfig
from flexlam.evaluate.reconstruction import ReconstructionConfig
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.training.joint import JointConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.policy import PolicyRunConfig
from flexlam.training.translator import TranslatorRunConfig
from flexlam.training.tuned_policy import TunedPolicyConfig


class Preset(Config):
    """Settings of a whole pipeline."""

    recording: RecordingConfig
    """What is recorded."""
    store: StoreConfig = StoreConfig()
    """How frames are kept for training."""
    lam: LamRunConfig = LamRunConfig()
    """Stage 1."""
    policy: PolicyRunConfig = PolicyRunConfig()
    """Stage 2."""
    translator: TranslatorRunConfig = TranslatorRunConfig()
    """Stage 3."""
    joint: JointConfig = JointConfig()
    """Stage 4."""
    tuned_policy: TunedPolicyConfig = TunedPolicyConfig()
    """Fine-tuning of a policy with its translator."""
    alignment: AlignmentConfig = AlignmentConfig()
    """How alignment is measured."""
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    """How decoding is measured."""
    returns: ReturnsConfig = ReturnsConfig()
    """How acting is measured."""
    latency: LatencyConfig = LatencyConfig()
    """How decisions are timed."""
    probes: ProbesConfig = ProbesConfig()
    """How leakage is measured."""


def load_preset(name: str) -> Preset:
    """The settings that a name stands for.

    Raises:
        ConfigError: there is no such preset.
    """
    make: Callable[[], Preset] = catalog.lookup("preset", name)
    return make()

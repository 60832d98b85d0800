"""Settings of the studies at four sizes: seconds (tests), hours on two CPU cores, one GPU, the paper's own."""

from collections.abc import Callable

from pydantic import Field

from flexlam.acting.recording import RecordingConfig
from flexlam.bottleneck.prefix import PrefixSampling
from flexlam.core import catalog
from flexlam.core.config import Config, component
from flexlam.data.store_builder import StoreConfig
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel
from flexlam.training.fit import FitConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.loop import LoopConfig
from flexlam.translator.base import HourglassConfig, TranslatorConfig
from flexlam.translator.serving import PrefixSampledTranslator


class StudyConfig(Config):
    """What the studies share; a study varies its own factor."""

    recording: RecordingConfig
    """What is recorded, once for all models."""
    store: StoreConfig = StoreConfig()
    """How frames are kept."""
    lam: LamRunConfig
    """FlexLAM at the largest K; other models differ in what a study says. Its training seed is the LAM seed."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """LAM seeds: the unit of every interval. Labels are drawn anew for each."""
    prefix_lengths: tuple[int, ...] = (1, 4, 16)
    """The k at which models are compared, and the K of the Fixed-K models."""
    label_counts: tuple[int, ...] = (32, 128, 512, 2048)
    """Label budgets N."""
    num_draws: int = Field(default=4, ge=1)
    """Draws of the labels inside a LAM seed."""
    num_test: int = Field(default=4000, ge=1)
    """Test transitions at most."""
    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config()  # type: ignore[valid-type]
    """The translator; of a Fixed-K model it reads whole codes."""
    fit: FitConfig = FitConfig()
    """How translators are fitted."""
    weight_decays: tuple[float, ...] = (0.1, 1.0, 10.0)
    """What the controls with weight decay choose from, on the labels alone."""
    control_sampling: PrefixSampling = "uniform"
    """p(k) of the prefix dropout that the Fixed-K controls share with FlexLAM's translator."""
    margin: float = Field(default=0.02, gt=0)
    """Nats by which a model that is not inferior may be behind."""
    num_workers: int = Field(default=2, ge=1)
    """Processes of one thread each; use 1 with a GPU."""


def tiny() -> StudyConfig:
    """Everything once, in seconds; too small to show anything."""
    lam = LatentActionModel.Config(
        num_slots=4,
        encoder=PairEncoder.Config(dim=32, depth=1, num_heads=2),
        decoder=RegressionDecoder.Config(patch_size=16, dim=32, depth=1, num_heads=2),
    )
    return StudyConfig(
        recording=RecordingConfig(tasks=("health_gathering", "predict_position"), num_frames=400),
        lam=LamRunConfig(lam=lam, training=_loop(20, 16)),
        seeds=(0, 1),
        prefix_lengths=(1, 4),
        label_counts=(32, 64),
        num_draws=2,
        translator=PrefixSampledTranslator.Config(network=HourglassConfig(wide_dim=32, narrow_dim=16)),
        fit=FitConfig(max_steps=20, evaluate_every=10, num_folds=2),
        weight_decays=(0.1, 1.0),
    )


def cpu() -> StudyConfig:
    """Two CPU cores, about ninety minutes for the losses of `tradeoff`."""
    lam = LatentActionModel.Config(
        num_slots=16, encoder=PairEncoder.Config(patch_size=16), decoder=RegressionDecoder.Config(patch_size=16)
    )
    tasks = ("basic", "health_gathering", "defend_the_center", "defend_the_line", "my_way_home")
    return StudyConfig(
        recording=RecordingConfig(tasks=tasks, num_frames=8_000),
        lam=LamRunConfig(lam=lam, training=_loop(1000, 64)),
    )


def load_profile(name: str) -> StudyConfig:
    """The settings that a name stands for.

    Raises:
        ConfigError: there is no such profile.
    """
    make: Callable[[], StudyConfig] = catalog.lookup("profile", name)
    return make()


def _loop(num_steps: int, batch_size: int) -> LoopConfig:
    every = max(1, num_steps // 2)
    return LoopConfig(
        num_steps=num_steps, batch_size=batch_size, evaluate_every=every, checkpoint_every=every, trackers=()
    )

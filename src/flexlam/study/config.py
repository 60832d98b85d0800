"""Settings that the studies share, and how large they are: see the profiles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from flexlam.acting.agent import DrawRule
from flexlam.acting.recording import RecordingConfig
from flexlam.bottleneck.prefix import PrefixSampling
from flexlam.core import catalog
from flexlam.core.config import Config, component, without_unused
from flexlam.core.errors import ConfigError
from flexlam.data.labels import LabelBudget
from flexlam.data.parts import StoreConfig
from flexlam.envs.overlay import OverlayConfig
from flexlam.evaluate.latency import LatencyConfig
from flexlam.evaluate.probes import ProbesConfig
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.regression import RegressionPolicy
from flexlam.theory.additive import AdditiveConfig
from flexlam.theory.world import WorldConfig
from flexlam.training.fit import FitConfig
from flexlam.training.inverse_dynamics import IDM_FIT
from flexlam.training.joint import JointConfig
from flexlam.training.lam import LamRunConfig
from flexlam.training.latent_source import LatentSourceConfig
from flexlam.training.loop import LoopConfig
from flexlam.training.policy import PolicyRunConfig
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.serving import PrefixEnsembleTranslator, PrefixSampledTranslator


class OursConfig(Config):
    """What we do otherwise than the paper, at equal cost and with equal labels; found by exploring (docs/log.md)."""

    prefix_sampling: PrefixSampling = "uniform"
    """p(k) of the latent action model."""
    translator: component(TranslatorConfig) = PrefixEnsembleTranslator.Config()  # type: ignore[valid-type]
    """The translator; Fixed-K models get the same one, as a control."""


class ActingConfig(Config):
    """How agents of a study are made and tried."""

    tasks: tuple[str, ...] = ()
    """Tasks to act in, where a study needs returns."""
    recording: RecordingConfig | None = None
    """What the agents' models and policies learn from; None means the study's recording."""
    policy: PolicyRunConfig = PolicyRunConfig()
    """The sequence model, trained anew on the codes of every model."""
    returns: ReturnsConfig = ReturnsConfig()
    """Labels, episodes and baselines; suite, overlays, tasks, k and seed are the study's."""
    latency: LatencyConfig = LatencyConfig()
    """How decisions are timed."""
    margin: float = Field(default=0.05, gt=0)
    """Normalised return by which an agent that is not inferior may be behind."""


class NarrowConfig(Config):
    """Labels from one task, test transitions from others."""

    recording: RecordingConfig
    """What is recorded and pretrained on."""
    source: str
    """The task whose transitions are labelled; as many drawn from all tasks are the control."""
    tested: tuple[str, ...]
    """Tasks that are scored, each apart and together."""
    prefix_lengths: tuple[int, ...]
    """The k at which models are compared."""
    label_counts: tuple[int, ...]
    """Label budgets N."""
    acting_tasks: tuple[str, ...] = ()
    """Tasks to act in."""


class JointStudyConfig(Config):
    """Joint alignment beside frozen models and the inverse dynamics model."""

    num_labels: int = Field(default=2048, ge=1)
    """Labels; the paper takes twenty times as many as where it aligns frozen models."""
    training: JointConfig = JointConfig()
    """The recipe, the same for every model."""
    idm_fit: FitConfig = IDM_FIT.model_copy(update={"max_steps": 1000, "patience": 5})
    """How the inverse dynamics model is fitted."""


class TheoryConfig(Config):
    """The study of linear latent action models (docs/theory.md). A study's seeds are its random worlds."""

    world: WorldConfig = WorldConfig()
    """The worlds; where the background's innovation is not varied, it is this large, which dominates the action."""
    hard: WorldConfig = WorldConfig(angle=45, sensor_noise=0.1)
    """With overlapping subspaces and sensor noise: where independence is violated, and translators are fitted."""
    additive: AdditiveConfig = AdditiveConfig()
    """The setting of arXiv 2506.15691; its noise is varied."""
    innovation_sds: tuple[float, ...] = Field(default=(0.1, 0.22, 0.5, 0.87, 1.5, 2.62), min_length=2)
    """Sizes of the exogenous innovation, with as many latents as actions."""
    latent_dims: tuple[int, ...] = Field(default=(2, 4, 6, 8, 12, 16, 24, 32), min_length=2)
    """Numbers of latents d_z; the largest is the number of slots of the ordered codes."""
    correlations: tuple[float, ...] = Field(default=(0.0, 0.3, 0.6, 0.9), min_length=2)
    """Correlations of the action with the background, of either kind."""
    label_fractions: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """Shares of labelled transitions under action supervision."""
    trained_dims: tuple[int, ...] = (4, 8, 12)
    """Numbers of latents of the gradient-trained twins."""
    label_counts: tuple[int, ...] = Field(default=(16, 32, 64, 128, 512), min_length=2)
    """Label budgets N of the translators."""
    num_draws: int = Field(default=20, ge=1)
    """Draws of the N labels in each world."""
    penalties: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """What ridge chooses from, by folds inside the N labels."""
    num_folds: int = Field(default=4, ge=2)
    """Folds of the N labels."""


class WorldPair(Config):
    """Two recordings of a kind of world; both are recorded once more under other backgrounds."""

    chosen_on: RecordingConfig
    """Where the best remedy is chosen."""
    reported: RecordingConfig
    """Where results are reported: other games, and other patterns in the background."""
    lam: LamRunConfig | None = None
    """Plain FlexLAM in this kind of world; None: that of the study."""
    only_order: bool = False
    """Compare plain FlexLAM with the remedies that come first alone: which slots carry the action?"""


class FactorsConfig(Config):
    """One factor at a time, with all else as in a world of the main comparison; fewer LAM seeds, no claims."""

    world: str = ""
    """Which."""
    innovations: tuple[float, ...] = ()
    """Jumps of the waves' phases in radians a decision: the noise level."""
    num_slots: tuple[int, ...] = ()
    """K."""
    num_seeds: int = Field(default=2, ge=1)
    """LAM seeds, the first ones."""


class ExogenousConfig(Config):
    """The study of remedies against leakage (docs/probes.md)."""

    worlds: dict[str, WorldPair] = Field(default_factory=dict)
    """By name."""
    lam: LamRunConfig = LamRunConfig()
    """Plain FlexLAM; other objectives train for as much arithmetic."""
    prefix_length: int = Field(default=4, ge=1)
    """The short prefix, and how many slots remedies have for themselves where they come first."""
    num_labels: int = Field(default=256, ge=1)
    """Labels of action supervision."""
    action_weight: float = Field(default=1.0, gt=0)
    """Its weight beside reconstruction, where both teach all slots."""
    num_choice_seeds: int = Field(default=2, ge=1)
    """LAM seeds, the first ones, in the world where the remedy is chosen."""
    probes: ProbesConfig = ProbesConfig()
    """How leakage is measured; the prefix lengths are the short one and K."""
    factors: FactorsConfig = FactorsConfig()
    """What else is varied."""


class DecidingConfig(Config):
    """How a latent policy gets its action decoder, and how it is tried (study/pieces/deciding.py)."""

    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config(use_prev_action=False)  # type: ignore[valid-type]
    """The action decoder."""
    fit: FitConfig = FitConfig()
    """How it is fitted."""
    latents: LatentSourceConfig = LatentSourceConfig(source="interpolated")
    """Which latents it is fitted to; of policies that are no flow the encoder's or their own."""
    label_fraction: float = Field(default=0.1, gt=0, le=1)
    """Share of the training transitions that is labelled (the paper's)."""
    prefix_lengths: tuple[int, ...] = ()
    """The k to act with; empty means K."""
    num_steps: tuple[int, ...] = Field(default=(3,), min_length=1)
    """Euler steps of a flow to act with."""
    num_episodes: int = Field(default=200, ge=1)
    """Test episodes, the same ones for every method of a LAM seed."""
    num_environments: int = Field(default=50, ge=1)
    """Games at the same time."""
    num_choices: int = Field(default=64, ge=1)
    """Latent actions drawn at the choice."""
    num_transitions: int = Field(default=500, ge=2)
    """Validation transitions on which decoder and policy are held against the encoder."""


class PaceConfig(Config):
    """How the time of a decision is taken: CPU time of the process, in turns, so that the ratio is of one run."""

    num_rounds: int = Field(default=20, ge=1)
    """Turns of each contender; the median counts."""
    num_decisions: int = Field(default=50, ge=1)
    """Decisions of a turn."""


class LafpFactorsConfig(Config):
    """One factor at a time, with all else as in the main comparison."""

    num_steps: tuple[int, ...] = (1, 3, 5, 20)
    """Euler steps."""
    num_slots: tuple[int, ...] = ()
    """Numbers of slots of the latent action model: the latent's width is so many times that of a slot."""
    interpolations: tuple[float, ...] = (0.0, 0.3, 0.6, 0.9)
    """Times tau at which latents for the decoder start; 0 is pure noise."""
    label_fractions: tuple[float, ...] = (0.02, 0.1, 0.5)
    """Shares of labelled transitions."""
    num_width_seeds: int = Field(default=3, ge=1)
    """LAM seeds, the first ones, of widths, targets and pretraining, which need models of their own; other factors have
    all."""
    num_episodes: int = Field(default=100, ge=1)
    """Test episodes."""
    fine_tuning: LoopConfig | None = None
    """How the policy goes on training with its decoder, on the decoder's labels; None leaves this factor out."""
    action_weight: float | None = Field(default=None, gt=0)
    """Weight of an action head in pretraining, on the decoder's labels; None leaves this factor out."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before there were these factors keep their hash."""
        return without_unused(self, handler(self), "fine_tuning", "action_weight")


class LafpUnionConfig(Config):
    """LAFP over prefixes of one FlexLAM; beside it, at every k, the other two policies."""

    lam: LamRunConfig = LamRunConfig()
    """The model, trained with random prefixes."""
    sequence: PolicyRunConfig = PolicyRunConfig()
    """The sequence model on its codes."""
    prefix_lengths: tuple[int, ...] = (1, 2, 4, 8)
    """k."""
    num_steps: tuple[int, ...] = (1, 3, 5, 20)
    """Euler steps."""
    num_seeds: int = Field(default=3, ge=1)
    """LAM seeds, the first ones."""
    num_episodes: int = Field(default=100, ge=1)
    """Test episodes."""


class LafpGameConfig(Config):
    """LAFP in tasks of a suite, beside behaviour cloning, with few labels."""

    recording: RecordingConfig
    """What is recorded, pretrained on and acted in; every task needs a reference by which returns are normalised."""
    lam: LamRunConfig = LamRunConfig()
    """The latent action model, one for all policies of a LAM seed."""
    flow: PolicyRunConfig = PolicyRunConfig(policy=FlowPolicy.Config())
    """LAFP."""
    regression: PolicyRunConfig = PolicyRunConfig(policy=RegressionPolicy.Config())
    """Behaviour cloning in latent space."""
    returns: ReturnsConfig = ReturnsConfig(labels=LabelBudget(fraction=0.1), rule=DrawRule(num_samples=1))
    """Labels (the paper's share), decoders, rule and episodes; suite, overlays, tasks, k, baselines, seed and the
    source of latents are the study's."""


class LafpConfig(Config):
    """The study of LAFP (docs/policies.md)."""

    recording: RecordingConfig = RecordingConfig(
        suite="two-routes", tasks=("two-routes",), num_frames=6000, behaviour="expert"
    )
    """What is recorded and pretrained on: one task of a world of two routes."""
    lam: LamRunConfig = LamRunConfig()
    """The latent action model of the main comparison."""
    flow: PolicyRunConfig = PolicyRunConfig(policy=FlowPolicy.Config())
    """LAFP."""
    regression: PolicyRunConfig = PolicyRunConfig(policy=RegressionPolicy.Config())
    """Behaviour cloning in latent space."""
    deciding: DecidingConfig = DecidingConfig()
    """Decoders and episodes."""
    pace: PaceConfig = PaceConfig()
    """How decisions are timed."""
    factors: LafpFactorsConfig = LafpFactorsConfig()
    """What is varied."""
    union: LafpUnionConfig = LafpUnionConfig()
    """Over prefixes."""
    games: dict[str, LafpGameConfig] = Field(default={})
    """Games in which policies are scored by their returns, by name."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before there were games keep their hash."""
        return without_unused(self, handler(self), "games")


class StudyConfig(Config):
    """What the studies share; a study varies its own factor."""

    dataset: Path | None = None
    """Your own dataset with actions (what `flexlam data info` reads) in the place of a recording."""
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
    """Draws of the labels inside a LAM seed; fewer where they would hold more than 2,048 labels together."""
    label_noise: float = Field(default=0.0, ge=0, lt=1)
    """Share of the N labels that are wrong; test labels are as recorded. For studies that measure losses only."""
    num_test: int = Field(default=4000, ge=1)
    """Test transitions at most."""
    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config()  # type: ignore[valid-type]
    """The paper's translator; of a Fixed-K model it reads whole codes."""
    fit: FitConfig = FitConfig()
    """How translators are fitted."""
    weight_decays: tuple[float, ...] = (0.1, 1.0, 10.0)
    """What the controls with weight decay choose from, on the labels alone."""
    ours: OursConfig = OursConfig()
    """Our variant, beside the paper's."""
    margin: float = Field(default=0.02, gt=0)
    """Nats by which a model that is not inferior may be behind."""
    acting: ActingConfig = ActingConfig()
    """Agents and their returns."""
    explored: RecordingConfig
    """What settings may be tried on: nothing that confirms a claim is recorded there."""
    narrow: NarrowConfig
    """The narrow source: the paper's setting."""
    narrow_pair: NarrowConfig
    """The narrow source at its smallest: labels of one task, tests in one other."""
    joint: JointStudyConfig = JointStudyConfig()
    """Joint alignment."""
    theory: TheoryConfig = TheoryConfig()
    """Linear latent action models, which need no recording."""
    exogenous: ExogenousConfig = ExogenousConfig()
    """Remedies against leakage."""
    lafp: LafpConfig = LafpConfig()
    """Flow matching in latent space."""
    num_workers: int = Field(default=2, ge=1)
    """Processes of one thread each; on a GPU they share it."""

    def under(self, overlays: tuple[OverlayConfig, ...]) -> Self:
        """The same with exogenous nuisance over everything that is recorded, in the place of what there was.

        Raises:
            ConfigError: the data are the user's own, and were recorded before.
        """
        if self.dataset is not None:
            raise ConfigError("--overlay draws over frames that are recorded; those of --dataset are there already.")

        def drawn_over(recording: RecordingConfig | None) -> RecordingConfig | None:
            return recording and recording.model_copy(update={"overlays": overlays})

        acting, narrow, pair, lafp = self.acting, self.narrow, self.narrow_pair, self.lafp
        games = {
            name: game.model_copy(update={"recording": drawn_over(game.recording)}) for name, game in lafp.games.items()
        }
        return self.model_copy(
            update={
                "recording": drawn_over(self.recording),
                "acting": acting.model_copy(update={"recording": drawn_over(acting.recording)}),
                "explored": drawn_over(self.explored),
                "narrow": narrow.model_copy(update={"recording": drawn_over(narrow.recording)}),
                "narrow_pair": pair.model_copy(update={"recording": drawn_over(pair.recording)}),
                "lafp": lafp.model_copy(update={"recording": drawn_over(lafp.recording), "games": games}),
            }
        )

    def without_noise(self, study: str) -> None:
        """Refuse label noise where labels are not the study's own.

        Raises:
            ConfigError: label noise.
        """
        if self.label_noise:
            raise ConfigError(
                f"label_noise is {self.label_noise:g}, and a study {study} takes its labels as recorded. Label noise "
                "is for studies of losses (tradeoff, narrow without acting tasks, prefix, sampling, conditioning)."
            )


def load_profile(name: str) -> StudyConfig:
    """The settings that a name stands for.

    Raises:
        ConfigError: there is no such profile.
    """
    make: Callable[[], StudyConfig] = catalog.lookup("profile", name)
    return make()

"""What is compared in the study of remedies: plain FlexLAM and other objectives, each at equal arithmetic."""

from typing import Any

from flexlam.acting.recording import RecordingConfig
from flexlam.data.labels import LabelBudget
from flexlam.study.config import ExogenousConfig, StudyConfig, WorldPair
from flexlam.study.graph import Step
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.leakage import probes_step
from flexlam.study.pieces.models import equal_objective_steps, lam_step, with_steps
from flexlam.training.lam import LamRunConfig
from flexlam.training.objectives.action_supervision import ActionSupervision
from flexlam.training.objectives.composed import ObjectivesConfig
from flexlam.training.objectives.cross_exogenous import CrossExogenous
from flexlam.training.objectives.features import FeaturePrediction
from flexlam.training.objectives.optical_flow import OpticalFlow

PLAIN = "reconstruction"
CROSS, FEATURES, FLOW = "cross-exogenous", "features", "optical flow"
SUPERVISED, CROSS_FIRST, ACTIONS_FIRST = "reconstruction + actions", "cross-exogenous first", "actions first"
REPLACING = (CROSS, FEATURES, FLOW)
"""Remedies that take the place of reconstruction."""
ENDOGENOUS_FIRST = (CROSS_FIRST, ACTIONS_FIRST)
"""Remedies that have the first slots to themselves."""
METHODS = (PLAIN, *REPLACING, SUPERVISED, *ENDOGENOUS_FIRST)
"""All that are compared."""


def compared(pair: WorldPair) -> tuple[str, ...]:
    """The methods that are compared in a kind of world."""
    return (PLAIN, *ENDOGENOUS_FIRST) if pair.only_order else METHODS


def objectives(config: ExogenousConfig) -> dict[str, ObjectivesConfig]:
    """What each method asks of the codes."""
    labels = ActionSupervision.Config(labels=LabelBudget(count=config.num_labels))
    first = {"num_endogenous": config.prefix_length}
    return {
        PLAIN: ObjectivesConfig(),
        CROSS: ObjectivesConfig(main=CrossExogenous.Config()),
        FEATURES: ObjectivesConfig(main=FeaturePrediction.Config()),
        FLOW: ObjectivesConfig(main=OpticalFlow.Config()),
        SUPERVISED: ObjectivesConfig(auxiliary=labels, weight=config.action_weight),
        CROSS_FIRST: ObjectivesConfig(auxiliary=CrossExogenous.Config(), **first),
        ACTIONS_FIRST: ObjectivesConfig(auxiliary=labels, **first),
    }


def remedy_runs(config: ExogenousConfig, plain: LamRunConfig, suite: str) -> dict[str, LamRunConfig]:
    """Each method's run on frames of a suite, as long as costs as much arithmetic as plain reconstruction."""
    found = {}
    for method, asked in objectives(config).items():
        run = plain.model_copy(update={"objectives": asked})
        found[method] = with_steps(run, equal_objective_steps(plain, run, suite))
    return found


def remedy_step(
    config: StudyConfig, recording: RecordingConfig, run: LamRunConfig, seed: int, about: dict[str, Any]
) -> Step:
    """A method in a world, its codes measured with the world's twin; only some read the twin in training."""
    other = recording.model_copy(update={"overlay_seed": recording.seed + 1})
    data, twin = data_step(config, recording), data_step(config, other)
    reads_twin = "cross-exogenous" in (run.objectives.main.name, run.objectives.auxiliary.name)
    lam = lam_step(data, run, seed, about, twin if reads_twin else None)
    lengths = tuple(sorted({config.exogenous.prefix_length, run.lam.num_slots}))
    probes = config.exogenous.probes.model_copy(update={"prefix_lengths": lengths})
    return probes_step(data, twin, lam, probes, about)

"""Games of the study of LAFP at two sizes; policies and decoders are as in the world of two routes."""

from flexlam.acting.agent import DrawRule
from flexlam.acting.recording import RecordingConfig
from flexlam.data.labels import LabelBudget
from flexlam.evaluate.returns import ReturnsConfig
from flexlam.study.config import LafpConfig, LafpGameConfig
from flexlam.study.pieces.models import with_steps
from flexlam.training.cloning import CloningConfig
from flexlam.training.lam import LamRunConfig


def tiny_games(two_routes: LafpConfig) -> dict[str, LafpGameConfig]:
    """Two grids, in seconds."""
    cloning = CloningConfig(num_steps=5, fit=two_routes.deciding.fit)
    return {"gridworld": _game(two_routes, two_routes.lam, "gridworld", ("grid4", "grid8"), 320, cloning, 2)}


def cpu_games(two_routes: LafpConfig) -> dict[str, LafpGameConfig]:
    """Two games of Doom, and an arm at a table, on latents of the paper's largest width: 16 slots of 16 numbers."""
    wide = two_routes.lam.model_copy(update={"lam": two_routes.lam.lam.model_copy(update={"num_slots": 16})})
    longer, cloning = with_steps(wide, 600), CloningConfig(num_steps=800)
    return {
        "vizdoom": _game(two_routes, longer, "vizdoom", ("basic", "health_gathering"), 8000, cloning, 20),
        "metaworld": _game(two_routes, longer, "metaworld", ("reach-v3", "door-open-v3"), 8000, cloning, 10),
    }


def _game(
    two_routes: LafpConfig,
    lam: LamRunConfig,
    suite: str,
    tasks: tuple[str, ...],
    num_frames: int,
    cloning: CloningConfig,
    num_episodes: int,
) -> LafpGameConfig:
    deciding = two_routes.deciding
    return LafpGameConfig(
        recording=RecordingConfig(suite=suite, tasks=tasks, num_frames=num_frames, behaviour="expert", seed=1),
        lam=lam,
        flow=two_routes.flow,
        regression=two_routes.regression,
        returns=ReturnsConfig(
            translator=deciding.translator,
            labels=LabelBudget(fraction=deciding.label_fraction),
            fit=deciding.fit,
            rule=DrawRule(num_samples=1),
            cloning=cloning,
            num_episodes=num_episodes,
            num_environments=num_episodes,
        ),
    )

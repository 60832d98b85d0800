"""Every component by name. Adding one is a new file and one line here.

The values are lazy "module:Class" strings, so that optional packages stay optional and listing imports nothing.
"""

from importlib import import_module
from typing import Any

from flexlam.core.errors import ConfigError, did_you_mean

CATALOG: dict[str, dict[str, str]] = {
    "reader": {
        "frame-folder": "flexlam.data.readers.frame_folder:FrameFolderReader",
        "laom": "flexlam.data.readers.laom:LaomReader",
        "lerobot": "flexlam.data.readers.lerobot:LeRobotReader",
        "minari": "flexlam.data.readers.minari:MinariReader",
        "mp4-json": "flexlam.data.readers.mp4_json:Mp4JsonReader",
        "procgen-npz": "flexlam.data.readers.procgen_npz:ProcgenNpzReader",
        "robomimic": "flexlam.data.readers.robomimic:RobomimicReader",
        "row-parquet": "flexlam.data.readers.row_parquet:RowParquetReader",
        "trajectory-npz": "flexlam.data.readers.trajectory_npz:TrajectoryNpzReader",
        "video-folder": "flexlam.data.readers.video_folder:VideoFolderReader",
        "webdataset": "flexlam.data.readers.webdataset:WebDatasetReader",
    },
    "suite": {
        "vizdoom": "flexlam.envs.vizdoom:VizdoomSuite",
        "gymnasium": "flexlam.envs.gymnasium_suite:GymnasiumSuite",
        "dmlab": "flexlam.envs.dmlab:DmlabSuite",
        "gridworld": "flexlam.envs.gridworld:GridworldSuite",
        "two-routes": "flexlam.envs.two_routes:TwoRoutesSuite",
        "dm_control": "flexlam.envs.dm_control_suite:DmControlSuite",
        "metaworld": "flexlam.envs.metaworld_suite:MetaworldSuite",
        "procgen": "flexlam.envs.procgen_suite:ProcgenSuite",
    },
    "overlay": {
        "texture": "flexlam.envs.overlay:DriftingTexture",
        "flicker": "flexlam.envs.overlay:Flicker",
        "sprites": "flexlam.envs.overlay:MovingSprites",
        "waves": "flexlam.envs.waves:Waves",
    },
    "encoder": {
        "pair": "flexlam.lam.encoders.pair:PairEncoder",
    },
    "quantizer": {
        "fsq": "flexlam.bottleneck.fsq:FSQ",
        "vq": "flexlam.bottleneck.vq:VQ",
        "continuous": "flexlam.bottleneck.continuous:Continuous",
    },
    "decoder": {
        "regression": "flexlam.lam.decoders.regression:RegressionDecoder",
        "flow": "flexlam.lam.decoders.flow:FlowDecoder",
    },
    "objective": {
        "reconstruction": "flexlam.training.objectives.reconstruction:Reconstruction",
        "cross-exogenous": "flexlam.training.objectives.cross_exogenous:CrossExogenous",
        "action-supervision": "flexlam.training.objectives.action_supervision:ActionSupervision",
        "features": "flexlam.training.objectives.features:FeaturePrediction",
        "optical-flow": "flexlam.training.objectives.optical_flow:OpticalFlow",
        "none": "flexlam.training.objectives.nothing:Nothing",
    },
    "policy": {
        "sequence": "flexlam.policy.autoregressive:SequenceModel",
        "flow": "flexlam.policy.flow:FlowPolicy",
        "regression": "flexlam.policy.regression:RegressionPolicy",
    },
    "translator": {
        "prefix-sampled": "flexlam.translator.serving:PrefixSampledTranslator",
        "per-prefix": "flexlam.translator.serving:PerPrefixTranslator",
        "prefix-ensemble": "flexlam.translator.serving:PrefixEnsembleTranslator",
    },
    "code-format": {
        "parquet": "flexlam.export.parquet:ParquetCodes",
        "lerobot": "flexlam.export.lerobot:LeRobotCodes",
        "lary": "flexlam.export.lary:LaryCodes",
    },
    "tracker": {
        "tensorboard": "flexlam.training.trackers:TensorBoardTracker",
        "wandb": "flexlam.training.trackers:WandbTracker",
    },
    "study": {
        "tradeoff": "flexlam.study.tradeoff:study",
        "returns": "flexlam.study.returns:study",
        "narrow": "flexlam.study.narrow:study",
        "narrow-pair": "flexlam.study.narrow:pair",
        "prefix": "flexlam.study.prefix:study",
        "budget": "flexlam.study.budget:study",
        "joint": "flexlam.study.joint:study",
        "conditioning": "flexlam.study.conditioning:study",
        "sampling": "flexlam.study.sampling:study",
        "reconstruction": "flexlam.study.reconstruction:study",
        "map": "flexlam.study.map:study",
        "selection": "flexlam.study.selection:study",
        "exogenous": "flexlam.study.exogenous:study",
        "theory": "flexlam.study.theory:study",
        "lafp": "flexlam.study.lafp:study",
    },
    "profile": {
        "tiny": "flexlam.study.profiles:tiny",
        "cpu": "flexlam.study.profiles:cpu",
        "gpu": "flexlam.study.profiles:gpu",
        "paper": "flexlam.study.profiles:paper",
    },
    "preset": {
        "flow-tiny": "flexlam.presets.lafp:flow_tiny",
        "flow": "flexlam.presets.lafp:flow",
        "vizdoom-tiny": "flexlam.presets.vizdoom:vizdoom_tiny",
        "vizdoom-small": "flexlam.presets.vizdoom:vizdoom_small",
        "vizdoom": "flexlam.presets.vizdoom:vizdoom",
    },
}


def names(kind: str) -> list[str]:
    """Every name of one kind.

    Raises:
        ConfigError: the kind is unknown.
    """
    if kind not in CATALOG:
        raise ConfigError(f"There is no kind of component called {kind!r}. {did_you_mean(kind, CATALOG)}")
    return sorted(CATALOG[kind])


def lookup(kind: str, name: str) -> Any:
    """Import and return the class or function that a name stands for.

    Raises:
        ConfigError: the kind or the name is unknown, or an optional package that it needs is missing.
    """
    if name not in names(kind):
        raise ConfigError(f"There is no {kind} called {name!r}. {did_you_mean(name, CATALOG[kind])}")
    module, _, attribute = CATALOG[kind][name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("flexlam"):
            raise
        raise ConfigError(
            f"The {kind} {name!r} needs the package {error.name!r}, which is not installed. "
            f"Install it with: pip install {error.name}"
        ) from error

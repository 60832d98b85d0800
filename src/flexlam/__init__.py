"""flexlam learns actions from video: variable-length latent actions, aligned to real ones with a few labels."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

# Public names load on first use, so that `import flexlam` and `flexlam --help` stay free of torch.
_LAZY = {
    "LatentActionModel": "flexlam.lam.model",
    "SequenceModel": "flexlam.policy.autoregressive",
    "Agent": "flexlam.acting.agent",
    "Codes": "flexlam.core.types",
    "RetainedPrefix": "flexlam.bottleneck.prefix",
    "ActionSpec": "flexlam.core.action",
    "FlexlamError": "flexlam.core.errors",
}
__all__ = [
    "ActionSpec",
    "Agent",
    "Codes",
    "FlexlamError",
    "LatentActionModel",
    "RetainedPrefix",
    "SequenceModel",
    "__version__",
]

if TYPE_CHECKING:
    from flexlam.acting.agent import Agent
    from flexlam.bottleneck.prefix import RetainedPrefix
    from flexlam.core.action import ActionSpec
    from flexlam.core.errors import FlexlamError
    from flexlam.core.types import Codes
    from flexlam.lam.model import LatentActionModel
    from flexlam.policy.autoregressive import SequenceModel


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'flexlam' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)

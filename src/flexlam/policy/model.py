"""Latent policies on disk, of whichever kind."""

from pathlib import Path
from typing import Any

import torch

from flexlam.core import catalog
from flexlam.core.checkpoint import read_kind
from flexlam.core.errors import CheckpointError
from flexlam.policy.base import Policy, policy_bundle


def load_policy(path: Path, lam_hash: str | None, device: str | torch.device = "cpu") -> Policy:
    """Load a policy (a bundle, or that of a run folder) for the model with a hash, in evaluation mode.

    Raises:
        CheckpointError: missing, unfinished or damaged, no policy, or trained on the codes of another model.
    """
    bundle = policy_bundle(path)
    found = read_kind(bundle)
    classes: list[Any] = [catalog.lookup("policy", name) for name in catalog.names("policy")]
    kinds = {policy_class.kind: policy_class for policy_class in classes}
    if found not in kinds:
        raise CheckpointError(f"{bundle} holds a {found}; expected a {' or a '.join(sorted(kinds))}. Check the path.")
    policy: Policy = kinds[found].from_pretrained(path, lam_hash, device)
    return policy

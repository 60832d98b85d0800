"""What every latent policy offers: from what an agent has seen to latent actions that it might take next."""

from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flexlam.bottleneck.base import Quantizer
from flexlam.core.checkpoint import Bundle, read_bundle
from flexlam.core.config import ComponentConfig
from flexlam.core.errors import CheckpointError


class PolicyConfig(ComponentConfig):
    """Settings of a latent policy."""

    kind: ClassVar[str] = "policy"
    unnamed: ClassVar[str | None] = "sequence"


class Decider(Protocol):
    """Decisions in B environments, each at a step of its own, with S draws of each decision side by side."""

    def reset(self, row: int) -> None:
        """An episode begins in a row."""

    def observe(
        self, images: Float[Tensor, "B C H W"], codes: Int[Tensor, "B K"], active: np.ndarray
    ) -> Float[Tensor, "B F"]:
        """Take in the newest frame, and the codes of the transition to it (of a policy that reads codes).

        Returns what the decision follows from; rows that are not active keep their state and return nothing of meaning.
        """

    def draw(self, seen: Float[Tensor, "B F"], prefix_length: int, numbers: Tensor | None) -> Tensor:
        """The first k slots of the next latent action (B, S, k, ...), in the policy's own terms.

        `numbers` (B, S, ...) are those of `Policy.random_numbers`; without them nothing is left to chance.
        """

    def latents(self, drawn: Tensor, quantizer: Quantizer) -> tuple[Float[Tensor, "B S K D"], Int[Tensor, "B S k"]]:
        """Valid latents of what was drawn (zero beyond k), and its codes."""


class Policy(Protocol):
    """Predicts latent actions of one latent action model, which it knows by hash."""

    kind: ClassVar[str]
    """Of its bundles."""
    reads_codes: ClassVar[bool]
    """Whether it looks at the codes of past transitions."""
    draws: ClassVar[bool]
    """Whether its decisions are drawn; otherwise they are the same, however often they are made."""
    nested: ClassVar[bool]
    """Whether a prefix of a draw is a draw of that prefix; otherwise k has to be known beforehand."""
    usual_samples: ClassVar[int]
    """Draws of a decision where nobody says how many. The agent averages over draws, which is no decision where they
    are different ways to act: then it is one."""
    frame_shape: tuple[int, int, int]
    num_slots: int
    codebook_size: int
    hash: str | None
    """Content hash of the bundle that it was loaded from."""
    lam_hash: str | None
    """Hash of the latent action model."""

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""

    @property
    def context_frames(self) -> int:
        """Frames of an episode after which its context is full, the newest included."""

    def decider(self, num_environments: int, num_samples: int, num_steps: int) -> Decider:
        """Decisions in B environments, S draws of each; `num_steps` Euler steps a draw, of policies that take steps."""

    def random_numbers(self, generator: np.random.Generator, num_samples: int) -> np.ndarray:
        """What S draws of one decision take: (S, ...), the same for every prefix length."""

    def eval(self) -> Any:
        """Evaluation mode."""


def read_policy(path: Path, kind: str, lam_hash: str | None) -> Bundle:
    """The bundle of a policy (or of its run folder) for the model with a hash.

    Raises:
        CheckpointError: missing, unfinished or damaged, or trained on the latent actions of another model.
    """
    bundle = read_bundle(policy_bundle(path), kind)
    if bundle.state["lam_hash"] != lam_hash:
        raise CheckpointError(
            f"The policy {path} predicts the codes of model {bundle.state['lam_hash']}, not of {lam_hash}. Codes "
            "mean something else in every model: train a policy on this one (flexlam train policy)."
        )
    return bundle


def policy_bundle(path: Path) -> Path:
    """The folder with the policy of a run, or the policy itself.

    Raises:
        CheckpointError: the run has not finished.
    """
    if not (path / "run.json").exists():
        return path
    if not (path / "model").exists():
        raise CheckpointError(
            f"The run {path} has not finished. Continue it with the command that began it (flexlam train policy or "
            "tuned-policy) and --resume."
        )
    return path / "model"

"""Policies that decide on a few frames alone: what flow and regression in latent space have in common."""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from flexlam.bottleneck.base import Quantizer
from flexlam.bottleneck.prefix import PrefixSampling
from flexlam.core.checkpoint import load_weights, write_bundle
from flexlam.core.config import Config
from flexlam.policy.base import PolicyConfig, read_policy
from flexlam.policy.trunk import FrameTrunk, TrunkConfig

_CONSTANT = 1e-6  # a spread below it is a rounding error


class LatentSpace(Config):
    """What such a policy knows of the latent action model whose latents it predicts."""

    num_slots: int
    latent_dim: int
    codebook_size: int
    prefix_sampling: PrefixSampling

    @property
    def fixed(self) -> bool:
        """Whether the model was trained with whole codes only."""
        return self.prefix_sampling == "full"


class FramePolicyConfig(PolicyConfig):
    """Settings of a policy that decides on frames alone."""

    num_frames: int = Field(default=1, ge=1)
    """Frames that a decision is made on, the newest included; at an episode's start the first one repeats."""
    frame_stride: int = Field(default=1, ge=1)
    """Steps between these frames."""
    trunk: TrunkConfig = TrunkConfig()
    """Size of the network that looks at them."""
    hidden_dim: int = Field(default=512, ge=1)
    """Width of the hidden layers behind it."""


class FramePolicy(nn.Module):
    """Frames in, latents out. Inside, each coordinate of each slot is normalised (`normalize`)."""

    kind: ClassVar[str]
    reads_codes: ClassVar[bool] = False
    draws: ClassVar[bool]
    nested: ClassVar[bool]
    usual_samples: ClassVar[int] = 1
    Config: ClassVar[Any] = FramePolicyConfig
    centre: Tensor
    scale: Tensor

    def __init__(self, config: Any, frame_shape: tuple[int, int, int], space: LatentSpace) -> None:
        super().__init__()
        self.config, self.frame_shape, self.space = config, frame_shape, space
        self.num_slots, self.codebook_size = space.num_slots, space.codebook_size
        self.trunk = FrameTrunk(config.trunk, frame_shape, config.num_frames)
        shape = (space.num_slots, space.latent_dim)
        self.register_buffer("centre", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.centre.device

    @property
    def context_frames(self) -> int:
        """Frames of an episode after which no frame stands for another."""
        return (self.config.num_frames - 1) * self.config.frame_stride + 1

    def set_statistics(self, low: Float[Tensor, "K D"], high: Float[Tensor, "K D"], std: Float[Tensor, "K D"]) -> None:
        """Normalise by these from now on: the middle of the range becomes 0, the spread 1 (LAFP §4.1).

        A coordinate that never changes is only shifted.
        """
        self.centre.copy_((high + low) / 2)
        self.scale.copy_(torch.where(std > _CONSTANT, std, torch.ones_like(std)))

    def normalize(self, latents: Float[Tensor, "*batch K D"]) -> Float[Tensor, "*batch K D"]:
        """From the model's coordinates to those of the policy."""
        return (latents - self.centre) / self.scale

    def features(self, images: Float[Tensor, "B n C H W"]) -> Float[Tensor, "B F"]:
        """What is seen on frames, oldest first, as images in [−1, 1]."""
        return self.trunk(images.flatten(1, 2))

    def loss(
        self,
        images: Float[Tensor, "B n C H W"],
        latents: Float[Tensor, "B K D"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Squared error a normalised coordinate, given the latents of the transitions that follow the frames."""
        raise NotImplementedError

    def generate(
        self,
        features: Float[Tensor, "B F"],
        points: Float[Tensor, "B S K D"],
        prefix_length: int,
        num_steps: int,
        time: float = 0.0,
    ) -> Float[Tensor, "B S k D"]:
        """The first k slots in the model's coordinates, before they are projected to valid ones.

        A flow is integrated from normalised `points` of a time τ (pure noise at 0) in `num_steps` steps.
        """
        raise NotImplementedError

    def random_numbers(self, generator: np.random.Generator, num_samples: int) -> np.ndarray:
        """(S, K, D) of a normal distribution."""
        return generator.standard_normal((num_samples, *self.centre.shape))

    def decider(self, num_environments: int, num_samples: int, num_steps: int) -> "FrameDecider":
        """Decisions in B environments."""
        return FrameDecider(self, num_environments, num_samples, num_steps)

    def save_pretrained(self, path: Path, **state: Any) -> str:
        """Write the policy as a bundle (core/checkpoint.py) and return its hash.

        Raises:
            OutputError: the disk is full or the place cannot be written.
        """
        config = {
            "frame_shape": list(self.frame_shape),
            "space": self.space.model_dump(mode="json"),
            "policy": self.config.model_dump(mode="json"),
        }
        return write_bundle(path, self.kind, config, {"model": self.state_dict()}, {"lam_hash": self.lam_hash, **state})

    @classmethod
    def from_pretrained(cls, path: Path, lam_hash: str | None, device: str | torch.device = "cpu") -> Self:
        """Load the policy that predicts the latents of the LAM with the given hash, in evaluation mode.

        `path` is a bundle or a run folder.

        Raises:
            CheckpointError: missing, unfinished or damaged, or trained on the latents of another model.
        """
        bundle = read_policy(path, cls.kind, lam_hash)
        config = cls.Config.parse(bundle.config["policy"], where=str(path))
        space = LatentSpace.parse(bundle.config["space"], where=str(path))
        policy = cls(config, tuple(bundle.config["frame_shape"]), space)
        load_weights(policy, bundle.tensors["model"], path)
        policy.hash, policy.lam_hash = bundle.hash, lam_hash
        return policy.to(device).eval()

    hash: str | None = None
    """Content hash of the bundle that the policy was loaded from."""
    lam_hash: str | None = None
    """Hash of the latent action model whose latents it predicts."""


class FrameDecider:
    """The newest frames of B episodes, and S draws of each decision side by side."""

    def __init__(self, policy: FramePolicy, num_rows: int, num_samples: int, num_steps: int) -> None:
        self.policy, self.num_samples, self.num_steps = policy, num_samples, num_steps
        height, width, channels = policy.frame_shape
        shape = (num_rows, policy.context_frames, channels, height, width)
        self._frames = torch.zeros(shape, device=policy.device)
        self._fresh = np.ones(num_rows, bool)

    def reset(self, row: int) -> None:
        """An episode begins in a row."""
        self._fresh[row] = True

    def observe(
        self, images: Float[Tensor, "B C H W"], codes: Int[Tensor, "B K"], active: np.ndarray
    ) -> Float[Tensor, "B F"]:
        """Take in the newest frame; codes are not read."""
        for row in np.flatnonzero(active).tolist():
            self._frames[row] = images[row] if self._fresh[row] else self._frames[row].roll(-1, 0)
            self._frames[row, -1] = images[row]
            self._fresh[row] = False
        return self.policy.features(self._frames[:, :: self.policy.config.frame_stride])

    def draw(
        self, seen: Float[Tensor, "B F"], prefix_length: int, numbers: Float[Tensor, "B S K D"] | None
    ) -> Float[Tensor, "B S k D"]:
        """The first k slots, from noise; without numbers from the middle of the noise."""
        if numbers is None:
            numbers = torch.zeros(len(seen), self.num_samples, *self.policy.centre.shape, device=seen.device)
        return self.policy.generate(seen, numbers, prefix_length, self.num_steps)

    def latents(
        self, drawn: Float[Tensor, "B S k D"], quantizer: Quantizer
    ) -> tuple[Float[Tensor, "B S K D"], Int[Tensor, "B S k"]]:
        """The nearest valid latents (zero beyond k), and their codes."""
        projected, codes = quantizer.project(drawn)
        return nn.functional.pad(projected, (0, 0, 0, self.policy.num_slots - drawn.shape[2])), codes

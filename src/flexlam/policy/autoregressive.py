"""The latent-token sequence model: predicts latent actions from sparse frames and past codes (FlexLAM §4.3, App. B)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.checkpoint import load_weights, write_bundle
from flexlam.core.errors import ConfigError
from flexlam.nn.causal import CausalConfig, CausalTransformer
from flexlam.nn.patches import check_patch_size
from flexlam.policy.base import PolicyConfig, read_policy
from flexlam.policy.context import max_trunk, window_layout

if TYPE_CHECKING:
    from flexlam.policy.decoding import Decoding

MOST_CODES = 1 << 20
"""Codes of a slot at most: each has a row of its own in two tables."""


class SequenceModel(nn.Module):
    """Frames and codes in, scores of codes out. Its embeddings are its own; of a LAM it knows K and |C| alone."""

    kind: ClassVar[str] = "sequence-model"
    reads_codes: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    usual_samples: ClassVar[int] = 8

    class Config(PolicyConfig):
        """Settings of a sequence model."""

        name: Literal["sequence"] = "sequence"
        context_frames: int = Field(default=34, ge=2)
        """Frames that a decision looks back over, the newest included; the blocks are one fewer."""
        stride: int = Field(default=8, ge=1)
        """Of the past frames, those at episode steps which this divides are seen."""
        patch_size: int = Field(default=16, ge=1)
        """Side of a patch in pixels; must divide the frame."""
        stem: tuple[int, ...] = ()
        """Widths of a stem that merges 2×2 neighbours again and again up to the patch; none: one linear map."""
        transformer: CausalConfig = CausalConfig()
        """Size of the transformer."""

        @model_validator(mode="after")
        def _window_can_move(self) -> "SequenceModel.Config":
            if self.context_frames <= self.stride:
                raise ValueError(
                    f"context_frames is {self.context_frames}; it must exceed the stride {self.stride}, "
                    "by which the window moves"
                )
            return self

        @model_serializer(mode="wrap")
        def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
            """Settings of before there were other policies keep their hash, and steps of studies their folders."""
            values: dict[str, Any] = handler(self)
            values.pop("name", None)
            return values

    def __init__(self, config: Config, frame_shape: tuple[int, int, int], num_slots: int, codebook_size: int) -> None:
        super().__init__()
        if codebook_size > MOST_CODES:
            raise ConfigError(
                f"A slot of this model takes one of {codebook_size:,} codes, and a sequence model tells {MOST_CODES:,} "
                "apart at most. Train a latent action model with a smaller vocabulary (fewer coordinates or levels)."
            )
        check_patch_size(config.patch_size, frame_shape)
        height, width, channels = frame_shape
        dim = config.transformer.dim
        self.config, self.frame_shape = config, frame_shape
        self.num_slots, self.codebook_size = num_slots, codebook_size
        self.num_patches = (height // config.patch_size) * (width // config.patch_size)
        self.patch_embedding = PatchEmbedding(config.patch_size, config.stem, channels, dim)
        self.patch_positions = nn.Parameter(torch.randn(self.num_patches, dim) * 0.02)
        self.code_embedding = nn.Embedding(codebook_size, dim)
        self.slot_embedding = nn.Embedding(num_slots, dim)
        self.transformer = CausalTransformer(config.transformer, self.max_trunk + self.num_patches + num_slots)
        self.head = nn.Linear(dim, codebook_size, bias=False)
        nn.init.normal_(self.code_embedding.weight, std=0.02)
        nn.init.normal_(self.slot_embedding.weight, std=0.02)
        nn.init.zeros_(self.head.weight)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.head.weight.device

    @property
    def context_frames(self) -> int:
        """Frames of a whole window."""
        return self.config.context_frames

    @property
    def max_trunk(self) -> int:
        """Tokens of the longest trunk."""
        return max_trunk(self.config.context_frames, self.config.stride, self.num_patches, self.num_slots)

    def embed_images(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B P D"]:
        """Tokens of frames, as images in [−1, 1]."""
        return self.patch_embedding(images) + self.patch_positions

    def embed_codes(self, codes: Int[Tensor, "*batch k"], first_slot: int = 0) -> Float[Tensor, "*batch k D"]:
        """Tokens of the codes of slots from `first_slot` on."""
        slots = torch.arange(first_slot, first_slot + codes.shape[-1], device=codes.device)
        return self.code_embedding(codes) + self.slot_embedding(slots)

    def loss(
        self,
        images: Float[Tensor, "B n C H W"],
        codes: Int[Tensor, "B n K"],
        valid: Bool[Tensor, "B n"],
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Cross-entropy in nats a code, over all codes of valid steps, of windows that begin at an anchor (App. B.2).

        Also: the same over decisions alone, for each slot, as "decision_loss" (K,), and over codes predicted without
        their frame as "history_loss".
        """
        num_blocks = images.shape[1]
        layout = window_layout(num_blocks, self.config.stride, self.num_patches, self.num_slots)
        bank = torch.cat(
            [
                self.embed_images(images.flatten(0, 1)).unflatten(0, images.shape[:2]).flatten(1, 2),
                self.embed_codes(codes).flatten(1, 2),
            ],
            dim=1,
        )
        device = self.device
        hidden = self.transformer(
            bank[:, layout.source.to(device)], layout.positions.to(device)[None], layout.mask.to(device)
        )
        decision = self._losses(hidden, layout.decision, codes)  # (B, n, K)
        history = self._losses(hidden, layout.history, codes[:, layout.history_steps])
        seen, unseen = valid.float()[..., None], valid[:, layout.history_steps].float()[..., None]
        total = (decision * seen).sum() + (history * unseen).sum()
        count = (seen.sum() + unseen.sum()) * self.num_slots
        aux = {
            "decision_loss": (decision * seen).sum((0, 1)) / seen.sum().clamp_min(1),
            "history_loss": (history * unseen).sum() / (unseen.sum() * self.num_slots).clamp_min(1),
        }
        return total / count.clamp_min(1), aux

    def _losses(self, hidden: Tensor, predictors: Tensor, codes: Tensor) -> Tensor:
        """(B, n, K) cross-entropies of codes (B, n, K) under the tokens that predict them (n, K)."""
        scores = self.head(hidden[:, predictors.to(hidden.device)]).float()
        return F.cross_entropy(scores.flatten(0, -2), codes.flatten(), reduction="none").view(codes.shape)

    def decider(self, num_environments: int, num_samples: int, num_steps: int) -> "Decoding":
        """Decisions in B environments, S draws of each; codes are drawn slot by slot, so there are no Euler steps."""
        from flexlam.policy.decoding import Decoding  # which is built on this class

        return Decoding(self, num_environments, num_samples)

    def random_numbers(self, generator: np.random.Generator, num_samples: int) -> np.ndarray:
        """(S, K) in [0, 1), one a code."""
        return generator.random((num_samples, self.num_slots))

    def save_pretrained(self, path: Path, **state: Any) -> str:
        """Write the model as a bundle (core/checkpoint.py) and return its hash.

        Raises:
            OutputError: the disk is full or the place cannot be written.
        """
        sizes = {"num_slots": self.num_slots, "codebook_size": self.codebook_size}
        config = {"frame_shape": list(self.frame_shape), **sizes, **self.config.model_dump(mode="json")}
        return write_bundle(path, self.kind, config, {"model": self.state_dict()}, {"lam_hash": self.lam_hash, **state})

    @classmethod
    def from_pretrained(cls, path: Path, lam_hash: str | None, device: str | torch.device = "cpu") -> Self:
        """Load the model that predicts the codes of the LAM with the given hash, in evaluation mode.

        `path` is a bundle or a run folder.

        Raises:
            CheckpointError: missing, unfinished or damaged, or trained on the codes of another model.
        """
        bundle = read_policy(path, cls.kind, lam_hash)
        values = dict(bundle.config)
        shape, num_slots, size = (values.pop(name) for name in ("frame_shape", "num_slots", "codebook_size"))
        model = cls(cls.Config.parse(values, where=str(path)), tuple(shape), num_slots, size)
        load_weights(model, bundle.tensors["model"], path)
        model.hash, model.lam_hash = bundle.hash, lam_hash
        return model.to(device).eval()

    hash: str | None = None
    """Content hash of the bundle that the model was loaded from."""
    lam_hash: str | None = None
    """Hash of the latent action model whose codes it predicts."""


class PatchEmbedding(nn.Module):
    """One token a patch: a linear map of its pixels, or small patches merged 2×2 with a GELU between the maps.

    Such a stem is products of matrices only: on a CPU convolutions in bfloat16 are far slower (docs/log.md, where the
    losses with and without it are too). Source: Touvron et al. 2022 (arXiv 2203.09795), hMLP stem, without its norms.
    """

    def __init__(self, patch_size: int, stem: tuple[int, ...], channels: int, dim: int) -> None:
        super().__init__()
        self.first = patch_size >> len(stem)
        if self.first << len(stem) != patch_size:
            raise ConfigError(
                f"A stem of {len(stem)} widths merges 2×2 patches {len(stem)} times, which a patch_size of "
                f"{patch_size} does not allow. Give fewer widths, or a multiple of 2 to that power."
            )
        inputs = (channels * self.first**2, *(4 * width for width in stem))
        self.maps = nn.ModuleList(nn.Linear(i, o) for i, o in zip(inputs, (*stem, dim), strict=True))

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B P D"]:
        """Tokens in reading order."""
        x = rearrange(images, "b c (h p) (w q) -> b h w (c p q)", p=self.first, q=self.first)
        for number, linear in enumerate(self.maps):
            if number:
                x = rearrange(nn.functional.gelu(x), "b (h p) (w q) c -> b h w (p q c)", p=2, q=2)
            x = linear(x)
        return x.flatten(1, 2)

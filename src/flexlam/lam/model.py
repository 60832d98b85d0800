"""The latent action model: what changed between two frames, as K ordered codes (FlexLAM §4)."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from flexlam.bottleneck.base import QuantizerConfig
from flexlam.bottleneck.fsq import FSQ
from flexlam.bottleneck.prefix import PrefixSampling, RetainedPrefix
from flexlam.core import catalog
from flexlam.core.checkpoint import bundle_of, load_weights, read_bundle, write_bundle
from flexlam.core.config import Config, component
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.hub import fetch, is_hub_name, model_folder, push
from flexlam.core.types import Codes
from flexlam.lam.decoders.base import DecoderConfig
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.base import EncoderConfig
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.nn.patches import frames_to_images, images_to_frames

_CHUNK = 256  # transitions in one forward pass of `encode` and `decode`: bounds their memory


@dataclass(frozen=True)
class LamAux:
    """What a training pass saw on its way."""

    indices: Int[Tensor, "B K"]
    prefix_length: Int[Tensor, "B"]
    latents: Float[Tensor, "B K D"]
    """Quantised, before null-filling; carries gradients."""
    penalty: Float[Tensor, ""]
    """What the bottleneck itself adds to a training loss (a VQ's commitment)."""


class LatentActionModel(nn.Module):
    """Encoder, quantizer, retained prefix and decoder."""

    kind = "latent-action-model"

    class Config(Config):
        """Settings of a latent action model. A Fixed-K model is num_slots=k with prefix_sampling="full"."""

        num_slots: int = Field(default=16, ge=1)
        """K, the largest number of codes per transition."""
        prefix_sampling: PrefixSampling = "uniform"
        """p(k), from which the retained prefix of each training example is drawn."""
        encoder: component(EncoderConfig) = PairEncoder.Config()  # type: ignore[valid-type]
        """How a pair of frames becomes K slots."""
        quantizer: component(QuantizerConfig) = FSQ.Config()  # type: ignore[valid-type]
        """How a slot becomes one of a finite set of codes."""
        decoder: component(DecoderConfig) = RegressionDecoder.Config()  # type: ignore[valid-type]
        """How a frame and a latent action become the next frame."""

    def __init__(self, config: Config, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.frame_shape = frame_shape
        self.num_slots = config.num_slots
        self.quantizer = catalog.lookup("quantizer", config.quantizer.name)(config.quantizer, config.num_slots)
        sizes = (frame_shape, config.num_slots, self.quantizer.latent_dim)
        self.encoder = catalog.lookup("encoder", config.encoder.name)(config.encoder, *sizes)
        self.prefix = RetainedPrefix(
            config.num_slots, self.quantizer.latent_dim, config.prefix_sampling, self.quantizer.null_init()
        )
        self.decoder = catalog.lookup("decoder", config.decoder.name)(config.decoder, *sizes)

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.prefix.null_latent.device

    @property
    def latent_dim(self) -> int:
        """D, width of a slot."""
        return self.quantizer.latent_dim

    @property
    def bits_per_slot(self) -> float:
        """log2 |C|, the nominal capacity of a slot."""
        return float(np.log2(self.quantizer.codebook_size))

    def encode_images(
        self, obs: Float[Tensor, "B C H W"], next_obs: Float[Tensor, "B C H W"]
    ) -> tuple[Float[Tensor, "B K D"], Int[Tensor, "B K"]]:
        """Quantised latents (with gradients) and code indices."""
        latents, indices, _ = self.quantizer(self.encoder(obs, next_obs))
        return latents, indices

    def encode_prefixes(
        self,
        obs: Float[Tensor, "B C H W"],
        next_obs: Float[Tensor, "B C H W"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "B K D"], LamAux]:
        """Null-filled latents under a random retained prefix of each example, and what was seen on the way."""
        latents, indices, penalty = self.quantizer(self.encoder(obs, next_obs), generator)
        filled, prefix_length = self.prefix(latents, generator=generator)
        return filled, LamAux(indices, prefix_length, latents, penalty)

    def loss(
        self,
        obs: Float[Tensor, "B C H W"],
        next_obs: Float[Tensor, "B C H W"],
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, ""], LamAux]:
        """The decoder's objective under a random retained prefix of each example (FlexLAM §4.1)."""
        filled, aux = self.encode_prefixes(obs, next_obs, generator)
        return self.decoder.loss(obs, next_obs, filled, generator) + aux.penalty, aux

    @torch.no_grad()  # not inference_mode: users train on what comes out
    def encode(self, obs: np.ndarray | Tensor, next_obs: np.ndarray | Tensor) -> Codes:
        """Codes of transitions: frames (..., H, W, C) uint8, NumPy or torch -> indices (..., K), latents (..., K, D).

        Raises:
            DataError: frames of another dtype or size than the model was trained on, or two different shapes.
        """
        a, b = self._frames(obs, "obs"), self._frames(next_obs, "next_obs")
        if a.shape != b.shape:
            raise DataError(f"obs has shape {tuple(a.shape)} and next_obs {tuple(b.shape)}; they must be equal.")
        batch = a.shape[:-3]
        a, b = a.reshape(-1, *self.frame_shape), b.reshape(-1, *self.frame_shape)
        with _evaluation(self):
            parts = [
                self.encode_images(frames_to_images(x.to(self.device)), frames_to_images(y.to(self.device)))
                for x, y in zip(a.split(_CHUNK), b.split(_CHUNK), strict=True)
            ]
        shape = (*batch, self.num_slots)
        if not parts:
            return Codes(torch.zeros(shape, dtype=torch.long), torch.zeros(*shape, self.latent_dim))
        latents, indices = (torch.cat(group) for group in zip(*parts, strict=True))
        return Codes(indices.reshape(shape), latents.reshape(*shape, self.latent_dim))

    @torch.no_grad()
    def decode(
        self,
        obs: np.ndarray | Tensor,
        codes: Codes | np.ndarray | Tensor,
        prefix_length: int | None = None,
        num_steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Predicted next frames (..., H, W, C) uint8, NumPy or torch as `obs` is.

        `codes` are Codes, or integer indices (..., k) with k ≤ K; the first `prefix_length` are used, all by default.
        `num_steps` draws a sample from a flow decoder in that many steps; by default the mean frame is predicted.

        Raises:
            DataError: frames or codes that do not fit the model.
            ConfigError: prefix_length lies outside 0..K.
        """
        frames = self._frames(obs, "obs")
        latents, given = self._latents(codes)
        if latents.shape[:-2] != frames.shape[:-3]:
            raise DataError(f"obs has batch shape {tuple(frames.shape[:-3])} and codes {tuple(latents.shape[:-2])}.")
        k = given if prefix_length is None else prefix_length
        if num_steps is not None and num_steps < 1:
            raise ConfigError(f"num_steps is {num_steps}; give 1 or more.")
        if num_steps is not None and not self.decoder.draws:
            raise ConfigError("num_steps was given, but a regression decoder draws no samples; leave it out.")
        if k > given:
            raise ConfigError(f"prefix_length is {k}, but only {given} codes per transition were given.")
        with _evaluation(self):
            filled, _ = self.prefix(latents.reshape(-1, *latents.shape[-2:]), prefix_length=k)
            parts = [
                images_to_frames(self._decode_images(frames_to_images(x.to(self.device)), z, num_steps, generator))
                for x, z in zip(frames.reshape(-1, *self.frame_shape).split(_CHUNK), filled.split(_CHUNK), strict=True)
            ]
        out = torch.cat(parts).view(frames.shape) if parts else frames.clone()
        return out.cpu().numpy() if isinstance(obs, np.ndarray) else out

    def save_pretrained(
        self, path: str | Path, dtype: torch.dtype | None = None, card: str | None = None, **state: Any
    ) -> str:
        """Write the model as a bundle (core/checkpoint.py) and return its hash; `dtype` shrinks the weights.

        `card` becomes its README.md. Without a state it keeps the one that it was loaded with.

        Raises:
            OutputError: the disk is full or the place cannot be written.
        """
        parameters = {name for name, _ in self.named_parameters()}
        tensors = {  # statistics stay exact: rounding those would move codes
            name: tensor.to(dtype) if dtype and name in parameters else tensor
            for name, tensor in self.state_dict().items()
        }
        config = {"frame_shape": list(self.frame_shape), **self.config.model_dump(mode="json")}
        files = {"README.md": card} if card else None
        return write_bundle(Path(path), self.kind, config, {"model": tensors}, state or self.state, files)

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu", revision: str | None = None) -> Self:
        """Load a model folder, the model of a run folder, or one of the Hub, in evaluation mode.

        `path` may be "OWNER/NAME" of the Hugging Face Hub where nothing local is called so, `revision` a tag, branch or
        commit there. `.hash` names the model's exact content.

        Raises:
            CheckpointError: missing, truncated, damaged, of another kind or of an unknown format version; or the Hub
                has no such model, or cannot be reached.
            ConfigError: a model of the Hub, and huggingface_hub is not installed; or a revision of something else.
        """
        if isinstance(path, str) and not Path(path).exists() and is_hub_name(path):
            path = fetch(path, revision)
        elif revision is not None:
            raise ConfigError(f"revision is {revision!r}, but {path} is no OWNER/NAME of the Hub; leave it out.")
        path = bundle_of(model_folder(path))
        bundle = read_bundle(path, cls.kind)
        values = dict(bundle.config)
        frame_shape = tuple(values.pop("frame_shape"))
        model = cls(cls.Config.parse(values, where=str(path)), frame_shape)
        load_weights(model, bundle.tensors["model"], path)
        model.hash, model.state = bundle.hash, bundle.state
        return model.to(device).eval()

    def push_to_hub(
        self, name: str, private: bool | None = None, card: str | None = None, message: str = "Upload a flexlam model"
    ) -> str:
        """Upload to the Hugging Face Hub as OWNER/NAME; returns the address of the commit.

        `flexlam export model RUN --push-to OWNER/NAME` does so with a card that tells what was measured.

        Raises:
            ConfigError: this can be no name, or huggingface_hub is not installed.
            OutputError: no token, no permission, or the Hub cannot be reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(Path(folder) / "model", card=card)
            return push(Path(folder) / "model", name, private, message)

    hash: str | None = None
    """Content hash of the bundle that the model was loaded from."""
    state: dict[str, Any] | None = None
    """What that bundle says beside its settings: parents, how transitions were taken, how frames were made."""

    def _decode_images(
        self, obs: Tensor, latents: Tensor, num_steps: int | None, generator: torch.Generator | None
    ) -> Tensor:
        if num_steps is None:
            return self.decoder.predict(obs, latents)
        return self.decoder.sample(obs, latents, num_steps, generator)

    def _frames(self, frames: np.ndarray | Tensor, name: str) -> Tensor:
        if isinstance(frames, np.ndarray):
            if frames.dtype != np.uint8:
                raise DataError(f"{name} has dtype {frames.dtype}; expected uint8 frames with values 0 to 255.")
            frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
        if not isinstance(frames, Tensor) or frames.dtype != torch.uint8:
            got = frames.dtype if isinstance(frames, Tensor) else type(frames).__name__
            raise DataError(f"{name} is {got}; expected uint8 frames (..., H, W, C) with values 0 to 255.")
        if tuple(frames.shape[-3:]) != tuple(self.frame_shape):
            raise DataError(
                f"{name} has shape {tuple(frames.shape)}; this model was trained on frames (..., H, W, C) = "
                f"(..., {', '.join(map(str, self.frame_shape))}). Resize the frames first."
            )
        return frames

    def _latents(self, codes: Codes | np.ndarray | Tensor) -> tuple[Tensor, int]:
        """Latents (..., K, D), and how many slots of them were given."""
        if isinstance(codes, Codes):
            given, width = codes.latents.shape[-2:]
            if given > self.num_slots or width != self.latent_dim:
                raise DataError(
                    f"codes have {given} slots of width {width}; this model has {self.num_slots} of {self.latent_dim}. "
                    "Encode with the same model."
                )
            return nn.functional.pad(codes.latents.to(self.device), (0, 0, 0, self.num_slots - given)), given
        indices = torch.as_tensor(codes, device=self.device)
        whole = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
        if not whole or indices.ndim == 0 or indices.shape[-1] > self.num_slots:
            raise DataError(
                f"codes are {indices.dtype} of shape {tuple(indices.shape)}; expected integers (..., k) with k at most "
                f"{self.num_slots}."
            )
        indices = indices.long()  # compact types, uint16 say, cannot be compared
        if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < self.quantizer.codebook_size:
            raise DataError(f"codes must lie in 0 to {self.quantizer.codebook_size - 1}.")
        given = indices.shape[-1]
        padded = nn.functional.pad(indices, (0, self.num_slots - given))
        return self.quantizer.indices_to_latents(padded), given


class _evaluation:
    """Evaluation mode for the length of a block."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.modes = [(part, part.training) for part in module.modules()]

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        for part, was_training in self.modes:
            part.training = was_training

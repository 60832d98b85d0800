"""Stage 2 of policies that decide on frames alone: flow (LAFP) and regression, on latents of a frozen model."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flexlam.core import catalog
from flexlam.core.machine import choose_device
from flexlam.core.run_folder import RunFolder
from flexlam.core.seeding import numpy_generator, torch_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.distances import energy_distance
from flexlam.nn.patches import frames_to_images
from flexlam.policy.frames import FramePolicy, FramePolicyConfig, LatentSpace
from flexlam.training.codes import StoredLatents
from flexlam.training.fit import seeded
from flexlam.training.loop import LoopConfig
from flexlam.training.pairs import SplitPairs

_NUM_EVALUATED = 1024  # validation transitions
_CHUNK = 256
_NUM_STEPS = 3  # Euler steps of the draws that are looked at, the paper's number


class FramePolicyStage:
    """Batches and losses of stage 2. Actions are never read."""

    def __init__(
        self,
        config: FramePolicyConfig,
        training: LoopConfig,
        lam: LatentActionModel,
        pairs: SplitPairs,
        run: RunFolder,
    ) -> None:
        self.training, self.lam, self.pairs, self.run = training, lam, pairs, run
        self.what = f"{config.name.capitalize()} policy"
        device = choose_device(training.device)
        make: type[FramePolicy] = catalog.lookup("policy", config.name)
        space = space_of(lam)
        self.module = seeded(lambda: make(config, lam.frame_shape, space), training.seed, "policy").to(device)
        self.module.lam_hash = lam.hash
        self.sampler = pairs.sampler(training.batch_size, training.seed)

    def encode(self) -> None:
        """Compute the latents of all transitions, or find them in the run folder; normalise by the training ones."""
        folder, store = self.run.path / "codes", self.pairs.store
        self.latents = StoredLatents(self.lam, store, self.pairs.train, folder / "train.npy")
        self.heldout = StoredLatents(self.lam, store, self.pairs.validation, folder / "validation.npy")
        self.module.set_statistics(*self.latents.statistics())

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the batch of a step."""
        rows = self.sampler.rows(step)
        images = leading_images(self.module, self.pairs.store, self.pairs.train, rows)
        generator = torch_generator(self.training.seed, "policy", step)
        return self.module.loss(images, self.latents[rows], generator), {}

    @torch.inference_mode()
    def evaluate(self, step: int) -> dict[str, float]:
        """Loss on validation transitions; of a flow also how far drawn latents lie from those of the data.

        `sampled_error` is the squared error a normalised coordinate of a draw as the latent of the same transition,
        `energy_distance` that of all draws from all latents: a policy that returns means has a small error and a large
        distance.
        """
        index, seed = self.pairs.validation, self.training.seed
        order = np.sort(numpy_generator(seed, "policy").permutation(len(index))[:_NUM_EVALUATED])
        generator = torch_generator(seed, "policy", "validation")
        loss, drawn, data = 0.0, [], []
        for rows in np.array_split(order, -(-len(order) // _CHUNK)):
            images = leading_images(self.module, self.pairs.store, index, rows)
            latents = self.heldout[rows]
            loss += float(self.module.loss(images, latents, generator)) * len(rows)
            drawn.append(self.module.normalize(self._drawn(images, generator)))
            data.append(self.module.normalize(latents))
        found = {"loss": loss / len(order)}
        if self.module.draws and len(order) > 1:
            sampled, wanted = torch.cat(drawn), torch.cat(data)
            found["sampled_error"] = float((sampled - wanted).square().mean())
            found["energy_distance"] = energy_distance(sampled.flatten(1), wanted.flatten(1))
        return found

    def _drawn(self, images: Float[Tensor, "B n C H W"], generator: torch.Generator) -> Float[Tensor, "B K D"]:
        """One whole latent of each transition, from pure noise."""
        noise = torch.randn(len(images), 1, *self.module.centre.shape, generator=generator).to(images.device)
        return self.module.generate(self.module.features(images), noise, self.module.num_slots, _NUM_STEPS)[:, 0]


def space_of(lam: LatentActionModel) -> LatentSpace:
    """What a policy has to know of a model."""
    return LatentSpace(
        num_slots=lam.num_slots,
        latent_dim=lam.latent_dim,
        codebook_size=lam.quantizer.codebook_size,
        prefix_sampling=lam.config.prefix_sampling,
    )


def leading_images(
    policy: FramePolicy, store: FrameStore, index: TransitionIndex, rows: np.ndarray
) -> Float[Tensor, "B n C H W"]:
    """The frames on which a policy decides at some transitions (B,), oldest first, on its device."""
    positions = index.leading(rows, policy.config.num_frames, policy.config.frame_stride)
    frames = torch.from_numpy(store.frames(positions.ravel())).to(policy.device)
    return frames_to_images(frames).unflatten(0, positions.shape)

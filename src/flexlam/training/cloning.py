"""Behaviour cloning: on all recorded actions, on N of them, or on actions that an inverse dynamics model guessed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.config import Config
from flexlam.core.errors import DataError, TrainingError
from flexlam.core.machine import Device, Precision, choose_device, choose_precision
from flexlam.core.progress import progress
from flexlam.core.seeding import seeded_torch, torch_generator
from flexlam.data.loader import BatchSampler
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.nn.patches import frames_to_images
from flexlam.policy.cloning import CloningPolicy
from flexlam.training.augmentation import shift_frames
from flexlam.training.fit import FitConfig, fit_with_folds, seeded
from flexlam.training.labelled import require_actions
from flexlam.training.optimizer import OptimizerConfig, build_optimizers, set_learning_rate
from flexlam.training.pairs import SplitPairs
from flexlam.translator.actions import ActionCodec

_CHUNK = 512  # frames scored at a time


class CloningConfig(Config):
    """Settings of behaviour cloning."""

    network: CloningPolicy.Config = CloningPolicy.Config()
    """Size of the network."""
    num_steps: int = Field(default=1500, ge=1)
    """Steps where every transition has an action; fixed beforehand, not chosen on anything."""
    batch_size: int = Field(default=64, ge=1)
    """Transitions a step, there."""
    optimizer: OptimizerConfig = OptimizerConfig(name="adamw", learning_rate=3e-3)
    """How weights are updated, there."""
    max_shift: int = Field(default=0, ge=0)
    """Both frames are shifted alike by up to this many pixels in each step, there."""
    fit: FitConfig = FitConfig(
        learning_rate=1e-3, weight_decay=0.1, max_steps=400, evaluate_every=20, patience=3, num_folds=3
    )
    """How the network is fitted to N labels, which also say when to stop."""
    fit_max_shift: int = Field(default=4, ge=0)
    """As `max_shift`, where there are N labels."""
    device: Device = "auto"
    """Where to compute."""
    precision: Precision = "auto"
    """Matrix multiplications of the training in fp32 or bf16; auto takes bf16 where the hardware computes in it."""


@dataclass(frozen=True)
class Clone:
    """A trained policy and what its scores mean."""

    policy: CloningPolicy
    codec: ActionCodec
    """On the CPU."""

    @torch.inference_mode()
    def scores(self, prev_frames: UInt8[Tensor, "B H W C"], frames: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B O"]:
        """Scores of actions, on the CPU; at an episode's start both frames are the same.

        Raises:
            DataError: frames of another size than those of the training.
        """
        shapes = tuple(prev_frames.shape[1:]), tuple(frames.shape[1:])
        if shapes != (self.policy.frame_shape, self.policy.frame_shape):
            raise DataError(
                f"The clone was given frames of {shapes[0]} and {shapes[1]} (height, width, channels); expected "
                f"{self.policy.frame_shape}. Resize frames as the training data were."
            )
        prev_obs, obs = (frames_to_images(x.to(_device(self.policy))) for x in (prev_frames, frames))
        return self.policy(prev_obs, obs).float().cpu()


def clone_all(config: CloningConfig, pairs: SplitPairs, seed: int) -> Clone:
    """Clone the recorded behaviour: every training transition with the action that was executed there.

    Raises:
        DataError: the store holds no actions.
        TrainingError: the loss is not finite.
    """
    require_actions(pairs.store)
    return clone_pseudo(config, pairs, _recorded_actions(pairs), seed)


def clone_pseudo(config: CloningConfig, pairs: SplitPairs, pseudo_actions: np.ndarray, seed: int) -> Clone:
    """As `clone_all`, with other actions (R, A) in the place of the recorded ones.

    Raises:
        DataError: the store holds no actions, or these do not fit its transitions.
        TrainingError: the loss is not finite.
    """
    spec = require_actions(pairs.store)
    if pseudo_actions.shape != (len(pairs.train), spec.num_dims):
        raise DataError(
            f"Actions of the shape {pseudo_actions.shape} were given for {len(pairs.train)} training transitions; "
            f"expected ({len(pairs.train)}, {spec.num_dims}), one vector a transition."
        )
    spec.check(pseudo_actions, "pseudo-labels")
    rows = np.arange(len(pairs.train))
    problem = _CloningProblem(config, pairs, rows, pseudo_actions, config.max_shift, seed)
    device = choose_device(config.device)
    policy = problem.build().to(device)
    optimizers = build_optimizers(policy, config.optimizer)
    sampler = BatchSampler(len(pairs.train), config.batch_size, seed)
    with progress(config.num_steps, "Behaviour cloning", "step") as bar:
        for step in range(config.num_steps):
            set_learning_rate(optimizers, config.optimizer, step, config.num_steps)
            with seeded_torch(seed, "dropout", "cloning", step):
                batch = torch.from_numpy(sampler.rows(step))
                loss = problem.loss(policy.train(), batch, torch_generator(seed, "cloning", step))
            _update(policy, loss, optimizers, config, step)
            bar.update()
    return Clone(policy.eval(), problem.codec)


def clone_labels(config: CloningConfig, pairs: SplitPairs, rows: np.ndarray, seed: int) -> Clone:
    """Clone N labelled rows of the training transitions; when to stop is chosen on those labels alone.

    Raises:
        DataError: the store holds no actions.
        TrainingError: there are fewer labels than folds.
    """
    require_actions(pairs.store)
    problem = _CloningProblem(config, pairs, rows, _recorded_actions(pairs)[rows], config.fit_max_shift, seed)
    return Clone(fit_with_folds(problem, len(rows), config.fit, seed).model, problem.codec)


class _CloningProblem:
    """A policy and the transitions it learns from; also what `fit_with_folds` asks for."""

    def __init__(
        self,
        config: CloningConfig,
        pairs: SplitPairs,
        rows: np.ndarray,
        actions: np.ndarray,
        max_shift: int,
        seed: int,
    ) -> None:
        self.config, self.max_shift, self.seed, self.store = config, max_shift, seed, pairs.store
        self.previous, self.first = (positions[rows] for positions in frame_positions(pairs.train))
        self.actions = torch.from_numpy(actions)
        self.codec = ActionCodec(require_actions(pairs.store))
        self.codec.fit(self.actions)

    def build(self) -> CloningPolicy:
        """A policy with fresh weights, always the same ones."""
        sizes = (self.store.frame_shape, self.codec.out_dim)
        return seeded(lambda: CloningPolicy(self.config.network, *sizes), self.seed, "cloning")

    def parts(self, model: CloningPolicy) -> Sequence[nn.Module]:
        """One network."""
        return [model]

    def loss(self, model: CloningPolicy, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Training loss of some transitions, shifted at random."""
        return self._loss(model, shift_frames(self._frames(rows), self.max_shift, generator), rows)

    def heldout(self, model: CloningPolicy, rows: Tensor) -> Sequence[float]:
        """Loss of some transitions as they are."""
        losses = [len(part) * float(self._loss(model, self._frames(part), part)) for part in rows.split(_CHUNK)]
        return [sum(losses) / len(rows)]

    def _frames(self, rows: Tensor) -> Tensor:
        """(B, H, W, 2C) uint8: o_{t-1} and o_t one behind the other."""
        frames = torch.from_numpy(self.store.frames(np.concatenate([self.previous[rows], self.first[rows]])))
        return torch.cat([frames[: len(rows)], frames[len(rows) :]], dim=-1)

    def _loss(self, model: CloningPolicy, frames: Tensor, rows: Tensor) -> Tensor:
        device = _device(model)
        precision = choose_precision(self.config.precision, device)
        prev_obs, obs = frames_to_images(frames.to(device)).chunk(2, dim=1)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            scores = model(prev_obs, obs)
        return self.codec.loss(scores.float().cpu(), self.actions[rows]).mean()


def frame_positions(index: TransitionIndex) -> tuple[np.ndarray, np.ndarray]:
    """Where o_{t-1} and o_t of all transitions lie in the store, (R,) each; at an episode's start both are o_t."""
    return np.where(index.previous < 0, index.first, index.previous), index.first


@torch.inference_mode()
def cloning_loss(clone: Clone, store: FrameStore, index: TransitionIndex) -> float:
    """Mean loss over all transitions of an index (log-loss of choices in nats; see `ActionCodec.loss`).

    Raises:
        DataError: the store holds no actions.
    """
    require_actions(store)
    assert store.actions is not None  # require_actions has seen to it
    previous, first = frame_positions(index)
    total = 0.0
    for start in range(0, len(first), _CHUNK):
        rows = slice(start, start + _CHUNK)
        scores = clone.scores(*(torch.from_numpy(store.frames(at[rows])) for at in (previous, first)))
        total += float(clone.codec.loss(scores, torch.from_numpy(store.actions[first[rows]])).sum())
    return total / len(first)


def _update(
    policy: CloningPolicy, loss: Tensor, optimizers: list[torch.optim.Optimizer], config: CloningConfig, step: int
) -> None:
    loss.backward()
    norm = nn.utils.clip_grad_norm_(policy.parameters(), config.optimizer.max_grad_norm)
    if not torch.isfinite(norm):
        raise TrainingError(
            f"The loss of behaviour cloning or its gradient is not finite at step {step} (loss "
            f"{float(loss.detach()):g}). Lower optimizer.learning_rate, or take the precision fp32."
        )
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _recorded_actions(pairs: SplitPairs) -> np.ndarray:
    assert pairs.store.actions is not None  # require_actions has seen to it
    actions: np.ndarray = pairs.store.actions[pairs.train.first]
    return actions


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device

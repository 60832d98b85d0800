"""Stage 2: train a policy on the codes of a frozen model, from action-free video; here the sequence model.

Sources: FlexLAM App. A.6, B.2. Policies that decide on frames alone have a stage of their own (frame_policy.py).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator
from torch import Tensor

from flexlam.core.config import Config, component
from flexlam.core.errors import ConfigError
from flexlam.core.machine import choose_device
from flexlam.core.progress import say
from flexlam.core.run_folder import RunFolder, open_or_plan
from flexlam.core.seeding import numpy_generator
from flexlam.data.loader import BatchSampler
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.base import PolicyConfig
from flexlam.training.codes import encode_all
from flexlam.training.fit import seeded
from flexlam.training.frame_policy import FramePolicyStage
from flexlam.training.loop import LoopConfig, train
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.runs import open_lam
from flexlam.training.trackers import require_trackers

KIND = "policy"
_NUM_EVALUATED = 128  # validation windows


class PolicyRunConfig(Config):
    """Settings of a stage-2 run."""

    policy: component(PolicyConfig) = SequenceModel.Config()  # type: ignore[valid-type]
    """The model."""
    first_context_frames: int = Field(default=10, ge=2)
    """Context of the first part of a sequence model's training; the whole context comes after it (two stages, as in
    App. B.4). Other policies have no such parts."""
    first_share: float = Field(default=0.7, ge=0, le=1)
    """Share of the steps that the first part takes; its batches hold more windows, of as many frames in all."""
    training: LoopConfig = LoopConfig(num_steps=1000, batch_size=16)
    """The loop; a batch counts windows of the whole context (of a sequence model) or transitions."""

    @model_serializer(mode="wrap")
    def _what_applies(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of a sequence model's training are written for sequence models only."""
        values: dict[str, Any] = handler(self)
        applies = isinstance(self.policy, SequenceModel.Config)
        return {name: value for name, value in values.items() if applies or not name.startswith("first_")}

    @model_validator(mode="after")
    def _grows(self) -> "PolicyRunConfig":
        if not isinstance(self.policy, SequenceModel.Config):
            return self
        if self.first_context_frames > self.policy.context_frames:
            raise ValueError(
                f"first_context_frames {self.first_context_frames} exceeds policy.context_frames "
                f"{self.policy.context_frames}; the context grows in training"
            )
        return self


class WindowIndex:
    """Windows over a set of transitions, one from each: it does not leave its episode.

    A window knows steps from its own beginning alone, so that every frame of a video is an anchor of some window and
    the newest frame of others, at every phase of the stride.
    """

    def __init__(self, index: TransitionIndex) -> None:
        last_rows = np.append(np.flatnonzero(np.diff(index.episode)), len(index) - 1)
        self.lasts = last_rows[np.searchsorted(last_rows, np.arange(len(index)))]

    def __len__(self) -> int:
        return len(self.lasts)

    def rows(self, windows: np.ndarray, num_blocks: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (W, n) of the index, and whether each still lies in the episode (behind it the last row repeats)."""
        rows = windows[:, None] + np.arange(num_blocks)
        lasts = self.lasts[windows][:, None]
        return np.minimum(rows, lasts), rows <= lasts


class PolicyStage:
    """Batches and losses of stage 2. Actions are never read."""

    what = "Sequence model"

    def __init__(self, config: PolicyRunConfig, lam: LatentActionModel, pairs: SplitPairs, run: RunFolder) -> None:
        self.config, self.pairs, self.run = config, pairs, run
        seed, self.device = config.training.seed, choose_device(config.training.device)
        sizes = (lam.frame_shape, lam.num_slots, lam.quantizer.codebook_size)
        self.module = seeded(lambda: SequenceModel(config.policy, *sizes), seed, "policy").to(self.device)
        self.module.lam_hash = lam.hash
        self.windows = WindowIndex(pairs.train)
        whole, first = config.policy.context_frames - 1, config.first_context_frames - 1
        self.num_first = round(config.first_share * config.training.num_steps)
        batch_size = config.training.batch_size
        self.parts = (
            (first, BatchSampler(len(self.windows), max(1, batch_size * whole // first), seed)),
            (whole, BatchSampler(len(self.windows), batch_size, seed + 1)),
        )
        self.lam = lam

    def encode(self) -> None:
        """Compute the codes of all transitions, or find them in the run folder."""
        folder, store = self.run.path / "codes", self.pairs.store
        self.codes = encode_all(self.lam, store, self.pairs.train, folder / "train.npy")
        self.heldout_codes = encode_all(self.lam, store, self.pairs.validation, folder / "validation.npy")

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the batch of a step."""
        num_blocks, sampler = self.parts[step >= self.num_first]
        rows, valid = self.windows.rows(sampler.rows(step), num_blocks)
        loss, aux = self._loss(self.pairs.train, self.codes, rows, valid)
        return loss, {
            "decision_loss": aux["decision_loss"].mean().detach(),
            "history_loss": aux["history_loss"].detach(),
        }

    @torch.inference_mode()
    def evaluate(self, step: int) -> dict[str, float]:
        """Losses on validation windows of the whole context, over decisions: mean, and first and last slot."""
        windows = WindowIndex(self.pairs.validation)
        order = numpy_generator(self.config.training.seed, "windows").permutation(len(windows))[:_NUM_EVALUATED]
        parts = []
        for chunk in np.array_split(order, max(1, len(order) // 16)):
            rows, valid = windows.rows(chunk, self.config.policy.context_frames - 1)
            loss, aux = self._loss(self.pairs.validation, self.heldout_codes, rows, valid)
            parts.append(torch.cat([loss[None], aux["history_loss"][None], aux["decision_loss"]]).double() * len(chunk))
        loss, history, *slots = (torch.stack(parts).sum(0) / len(order)).tolist()
        return {
            "loss": loss,
            "decision_loss": float(np.mean(slots)),
            "decision_loss_first_slot": slots[0],
            "decision_loss_last_slot": slots[-1],
            "history_loss": history,
        }

    def _loss(
        self, index: TransitionIndex, codes: np.ndarray, rows: np.ndarray, valid: np.ndarray
    ) -> tuple[Tensor, dict[str, Tensor]]:
        frames = torch.from_numpy(self.pairs.store.frames(index.first[rows.ravel()])).to(self.device)
        images = frames_to_images(frames).unflatten(0, rows.shape)
        blocks = torch.from_numpy(codes[rows].astype(np.int64)).to(self.device)
        loss, aux = self.module.loss(images, blocks, torch.from_numpy(valid).to(self.device))
        return loss, aux


def train_policy(
    config: PolicyRunConfig, lam: Path, data: Path, out: Path, overwrite: bool = False, resume: bool = False
) -> RunFolder:
    """Run stage 2 to its end: OUT/model holds the policy, which knows the LAM by its hash.

    Raises:
        DataError, CheckpointError, ConfigError, OutputError, TrainingError: see those.
    """
    lam_run, model = open_lam(lam, choose_device(config.training.device))
    gap = lam_run.pairs
    if gap.gap_steps != 1 or gap.gap_seconds is not None:
        raise ConfigError(
            f"{lam} was trained on frames {f'{gap.gap_seconds} s' if gap.gap_seconds else f'{gap.gap_steps} steps'} "
            "apart; a policy decides at every step, so it needs codes of successive frames. Train the model with "
            "--pairs.gap-steps 1."
        )
    pairs = load_pairs(data, lam_run.pairs, model.frame_shape)
    parents = {"lam": model.hash or "", "data": pairs.store.content_hash}
    values = config.model_dump(mode="json")
    run = open_or_plan(out, KIND, values, parents, resume)
    if resume and run.finished:
        return run
    require_trackers(config.training.trackers)
    stage: PolicyStage | FramePolicyStage
    if isinstance(config.policy, SequenceModel.Config):
        stage = PolicyStage(config, model, pairs, run)
    else:
        stage = FramePolicyStage(config.policy, config.training, model, pairs, run)
    if not resume:
        run.start(overwrite)
    say(f"Data: {pairs.describe()}")
    stage.encode()
    train(stage, config.training, run, stage.what)
    stage.module.eval().save_pretrained(run.model, parents=parents)
    return run

"""Stage 1: train a latent action model on action-free transitions (FlexLAM §4.1)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor, nn

from flexlam.bottleneck.health import Health, judge, slot_usage
from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.core.config import Config, without_unused
from flexlam.core.machine import choose_device
from flexlam.core.progress import say
from flexlam.core.run_folder import RunFolder, open_or_plan
from flexlam.core.seeding import numpy_generator, torch_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.training.augmentation import AugmentationConfig
from flexlam.training.fit import seeded
from flexlam.training.loop import LoopConfig, train
from flexlam.training.objectives.composed import Composed, ObjectivesConfig
from flexlam.training.pairs import FrameRecord, PairConfig, SplitPairs, load_pairs, open_twin
from flexlam.training.trackers import require_trackers

KIND = "lam"
_NUM_CODED = 1024  # validation transitions whose codes are counted
_NUM_DECODED = 384  # validation transitions decoded at every reported k


class LamRunConfig(Config):
    """Settings of a stage-1 run."""

    lam: LatentActionModel.Config = LatentActionModel.Config()
    """The model."""
    pairs: PairConfig = PairConfig()
    """The transitions."""
    training: LoopConfig = LoopConfig()
    """The loop."""
    objectives: ObjectivesConfig = ObjectivesConfig()
    """What codes have to tell."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """Random changes of training frames, the same for all frames of a transition."""
    max_gaps: int = Field(default=1, ge=1)
    """The frames of a training transition are a random 1 to so many gaps apart, as far as the episode reaches."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before there were other objectives keep their hash, and steps of studies their folders."""
        return without_unused(self, handler(self), "objectives", "augmentation", "max_gaps")


class LamStage:
    """Batches and losses of stage 1. Actions are read only where an objective asks for labels."""

    def __init__(self, config: LamRunConfig, pairs: SplitPairs, run: RunFolder, twin: FrameStore | None = None) -> None:
        device, seed = choose_device(config.training.device), config.training.seed
        self.config, self.pairs, self.run, self.twin = config, pairs, run, twin
        model = seeded(lambda: LatentActionModel(config.lam, pairs.store.frame_shape), seed, "lam")
        self.composed = Composed(config.objectives, model, pairs, twin, seed)
        self.module = nn.ModuleDict({"lam": model, "objectives": self.composed}).to(device)
        self.lam: LatentActionModel = model
        self.sampler = pairs.sampler(config.training.batch_size, seed)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the batch of a step."""
        index = self._reaching(self.sampler.rows(step), step)
        rows = np.arange(len(index))
        batch = self._images(self.pairs.store, index, rows, step)
        twin = None
        if self.twin is not None:
            twin = self._images(self.twin, index.of_twin(self.twin), rows, step)
        labelled, action = None, None
        if self.composed.labels is not None:
            rows = self.composed.labels.rows_of(step)
            labelled = self._images(self.pairs.store, self.pairs.train, rows, step)
            action = self.composed.labels.actions_of(step).to(self.lam.device)
        generator = torch_generator(self.config.training.seed, "lam", step)
        return self.composed.loss(self.lam, batch, twin, labelled, action, generator)

    def evaluate(self, step: int) -> dict[str, float]:
        """Look at the codes on validation transitions; the newest look lies in RUN/health.json."""
        return log_health(self.lam, self.pairs, self.config.training.seed, self.run, step)

    def _reaching(self, rows: np.ndarray, step: int) -> TransitionIndex:
        """The transitions of some rows, over random gaps where these are asked for."""
        most, gaps = self.config.max_gaps, np.ones(len(rows), np.int64)
        if most > 1:
            gaps = numpy_generator(self.config.training.seed, "gaps", step).integers(1, most + 1, len(rows))
        return self.pairs.train.reaching(self.pairs.store, rows, gaps)

    def _images(self, store: FrameStore, index: TransitionIndex, rows: np.ndarray, step: int) -> tuple[Tensor, Tensor]:
        """Both frames of transitions, changed at random; the changes follow from the step, so twins' are the same."""
        batch = index.batch(store, rows, with_actions=False)
        generator = torch_generator(self.config.training.seed, "augmentation", step)
        both = torch.cat([batch.obs, batch.next_obs], dim=-1)
        images = frames_to_images(self.config.augmentation.change(both, generator).to(self.lam.device))
        obs, next_obs = images.chunk(2, dim=1)
        return obs, next_obs


def train_lam(
    config: LamRunConfig,
    data: Path,
    out: Path,
    overwrite: bool = False,
    resume: bool = False,
    twin: Path | None = None,
) -> RunFolder:
    """Run stage 1 to its end; the finished model lies in OUT/model, the last look at its codes in OUT/health.json.

    `twin` is a store of the same games before other backgrounds, for objectives that ask for one.

    Raises:
        ConfigError: objectives that cannot be had together, or lack a twin.
        DataError, OutputError, CheckpointError, TrainingError: see those.
    """
    pairs = load_pairs(data, config.pairs)
    parents = {"data": pairs.store.content_hash}
    twin_store = None if twin is None else open_twin(twin, pairs.store)
    if twin_store is not None:
        parents["twin"] = twin_store.content_hash
    values = config.model_dump(mode="json")
    run = open_or_plan(out, KIND, values, parents, resume)
    if resume and run.finished:
        return run
    require_trackers(config.training.trackers)
    stage = LamStage(config, pairs, run, twin_store)
    if not resume:
        run.start(overwrite)
    say(f"Data: {pairs.describe()}")
    train(stage, config.training, run, "Latent action model")
    frames = FrameRecord.of(pairs.store).model_dump(mode="json")
    stage.lam.eval().save_pretrained(run.model, parents=parents, pairs=values["pairs"], frames=frames)
    return run


def images_of(
    pairs: SplitPairs, index: TransitionIndex, rows: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Both frames of transitions as images (B, C, H, W) in [−1, 1] on a device."""
    batch = index.batch(pairs.store, rows, with_actions=False)
    return frames_to_images(batch.obs.to(device)), frames_to_images(batch.next_obs.to(device))


def log_health(model: LatentActionModel, pairs: SplitPairs, seed: int, run: RunFolder, step: int) -> dict[str, float]:
    """Measure, keep the newest look in RUN/health.json, and return the numbers worth a curve."""
    name = "validation/error_over_copy"
    history = [(row["step"], row[name]) for row in run.metrics() if name in row]
    health = measure_health(model, pairs, seed, history, step)
    run.write_json("health.json", health.to_json())
    curve = health.prefix_curve
    return {
        "error_over_copy": curve[max(curve)],
        **{f"error_over_copy_k{k}": error for k, error in curve.items()},
        "bits_used": health.bits_used,
        "median_perplexity": float(np.median([slot.perplexity for slot in health.slots])),
        "shuffle_ratio": health.shuffle_ratio,
    }


@torch.inference_mode()
def measure_health(
    model: LatentActionModel, pairs: SplitPairs, seed: int, history: list[tuple[int, float]] | None, step: int
) -> Health:
    """Look at the codes of a fixed sample of validation transitions; without a history training is not judged."""
    rows = numpy_generator(seed, "health").permutation(len(pairs.validation))[:_NUM_CODED]
    indices: list[Tensor] = []
    errors: dict[int, float] = {}
    shuffled, copy, seen = 0.0, 0.0, 0
    for chunk in np.array_split(rows, max(1, len(rows) // 128)):
        obs, next_obs = images_of(pairs, pairs.validation, chunk, model.device)
        latents, codes = model.encode_images(obs, next_obs)
        indices.append(codes)
        if seen < _NUM_DECODED:
            seen += len(chunk)
            copy += squared_error(obs, next_obs)
            for k in reported_prefix_lengths(model.num_slots):
                predicted = model.decoder.predict(obs, model.prefix(latents, prefix_length=k)[0])
                errors[k] = errors.get(k, 0.0) + squared_error(predicted, next_obs)
            others = model.prefix(latents.roll(1, 0), prefix_length=model.num_slots)[0]
            shuffled += squared_error(model.decoder.predict(obs, others), next_obs)
    curve = {k: error / max(copy, 1e-12) for k, error in errors.items()}
    full = curve[model.num_slots]
    return judge(
        slot_usage(torch.cat(indices)),
        model.num_slots * model.bits_per_slot,
        curve,
        shuffled / max(errors[model.num_slots], 1e-12),
        () if history is None else [*history, (step, full)],
    )


def squared_error(a: Tensor, b: Tensor) -> float:
    """Sum of squared differences of images clipped to [−1, 1]."""
    return float((a.clamp(-1, 1) - b).double().square().sum())

"""Stage 4: let the action loss of N labels shape the encoder too (FlexLAM §6.3, joint alignment).

Starts from a trained model. Makes a new model and its translator; codes of the old one mean something else now, so
nothing trained on those fits any more.
"""

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.config import Config, component
from flexlam.core.machine import choose_device
from flexlam.core.run_folder import RunFolder, open_or_plan
from flexlam.core.seeding import seeded_torch, torch_generator
from flexlam.data.labels import LabelBudget, LabelSet, choose_labels
from flexlam.data.loader import BatchSampler
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images, thumbnails
from flexlam.training.augmentation import shift_frames
from flexlam.training.labelled import encode_labelled, require_actions
from flexlam.training.lam import images_of, log_health
from flexlam.training.loop import LoopConfig, train
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.pairs import FrameRecord, SplitPairs, load_pairs
from flexlam.training.runs import open_lam
from flexlam.training.trackers import require_trackers
from flexlam.training.translator import TranslatorProblem
from flexlam.translator.base import TranslatorConfig
from flexlam.translator.model import save_translator
from flexlam.translator.serving import PrefixSampledTranslator

KIND = "joint"


class JointConfig(Config):
    """Settings of a joint run."""

    translator: component(TranslatorConfig) = PrefixSampledTranslator.Config()  # type: ignore[valid-type]
    """The translator."""
    labels: LabelBudget = LabelBudget(count=256)
    """How many labels, and from where."""
    draw: int = 0
    """Which random draw of the labels."""
    action_weight: float = Field(default=0.02, ge=0)
    """Weight of the action loss beside the decoder's."""
    max_shift: int = Field(default=4, ge=0)
    """Labelled pairs are shifted by up to this many pixels, both frames alike, against overfitting."""
    training: LoopConfig = LoopConfig(num_steps=600, optimizer=OptimizerConfig(learning_rate=5e-4))
    """The loop; its number of steps is fixed beforehand, not chosen on anything."""


class JointStage:
    """Batches and losses of stage 4."""

    def __init__(
        self,
        config: JointConfig,
        model: LatentActionModel,
        pairs: SplitPairs,
        labels: LabelSet,
        run: RunFolder,
    ) -> None:
        self.config, self.pairs, self.run, self.rows = config, pairs, run, labels.rows
        seed = config.training.seed
        spec = require_actions(pairs.store)
        labelled = encode_labelled(model, pairs.store, pairs.train, labels.rows)
        translator = TranslatorProblem(config.translator, spec, model, labelled, seed).build()
        self.lam, self.translator = model, translator.to(model.device)
        self.module = nn.ModuleDict({"lam": self.lam, "translator": self.translator})
        # The null latent keeps its place: aligned and unaligned prefixes stay comparable.
        model.prefix.requires_grad_(False)
        self.sampler = pairs.sampler(config.training.batch_size, seed)
        self.label_sampler = BatchSampler(len(labels), min(config.training.batch_size, len(labels)), seed + 1)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Decoder loss on unlabelled transitions plus weighted action loss on labelled ones."""
        lam = self.lam
        generator = torch_generator(self.config.training.seed, "joint", step)
        obs, next_obs = images_of(self.pairs, self.pairs.train, self.sampler.rows(step), lam.device)
        decoder_loss, _ = lam.loss(obs, next_obs, generator)
        batch = self.pairs.train.batch(self.pairs.store, self.rows[self.label_sampler.rows(step)])
        both = shift_frames(torch.cat([batch.obs, batch.next_obs], dim=-1), self.config.max_shift, generator)
        obs, next_obs = frames_to_images(both.to(lam.device)).chunk(2, dim=1)
        latents, _ = lam.encode_images(obs, next_obs)
        assert batch.prev_action is not None and batch.action is not None  # require_actions has seen to it
        prev_action, action = batch.prev_action.to(lam.device), batch.action.to(lam.device)
        with seeded_torch(self.config.training.seed, "dropout", step):
            action_loss = self.translator.loss(latents, prev_action, action, generator, thumbnails(obs))
        loss = decoder_loss + self.config.action_weight * action_loss
        return loss, {"decoder_loss": decoder_loss.detach(), "action_loss": action_loss.detach()}

    def evaluate(self, step: int) -> dict[str, float]:
        """Look at the codes on validation transitions."""
        return log_health(self.lam, self.pairs, self.config.training.seed, self.run, step)


def train_joint(
    config: JointConfig, lam: Path, data: Path, out: Path, overwrite: bool = False, resume: bool = False
) -> RunFolder:
    """Run stage 4: OUT/model holds the new model, OUT/translator its translator, OUT/labels.parquet the labels.

    Raises:
        DataError, CheckpointError, OutputError, TrainingError: see those.
    """
    device = choose_device(config.training.device)
    lam_run, model = open_lam(lam, device)
    pairs = load_pairs(data, lam_run.pairs, model.frame_shape)
    require_actions(pairs.store)
    labels = choose_labels(pairs.train, pairs.store, config.labels, config.training.seed, config.draw)
    parents = {"lam": model.hash or "", "data": pairs.store.content_hash}
    values = {**config.model_dump(mode="json"), "pairs": lam_run.pairs.model_dump(mode="json")}
    run = open_or_plan(out, KIND, values, parents, resume)
    if resume and run.finished and (run.path / "translator" / "manifest.json").exists():
        return run
    require_trackers(config.training.trackers)
    stage = JointStage(config, model, pairs, labels, run)
    if not resume:
        run.start(overwrite)
    labels.save(run.path / "labels.parquet")
    train(stage, config.training, run, "Joint alignment")
    model.eval()
    frames = FrameRecord.of(pairs.store).model_dump(mode="json")
    new_hash = model.save_pretrained(run.model, parents=parents, pairs=values["pairs"], frames=frames)
    save_translator(stage.translator, run.path / "translator", new_hash)
    return run

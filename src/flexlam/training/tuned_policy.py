"""Fine-tuning: go on training a policy together with its action decoder on N labels (LAFP 2606.10517, "fine-tuned").

Latents are generated as in acting, from pure noise by Euler steps, and the action loss reaches the policy through all
of them. Nothing holds the policy to the encoder's latents any more. Makes a new policy and its translator, of the same
latent action model.
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from flexlam.bottleneck.base import Quantizer
from flexlam.bottleneck.prefix import prefix_probabilities
from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.machine import choose_device
from flexlam.core.run_folder import RunFolder, open_or_plan
from flexlam.core.seeding import numpy_generator, seeded_torch, torch_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.data.loader import BatchSampler
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import thumbnails
from flexlam.policy.base import Policy
from flexlam.policy.frames import FramePolicy
from flexlam.policy.model import load_policy
from flexlam.training.frame_policy import leading_images
from flexlam.training.loop import LoopConfig, train
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.runs import open_lam
from flexlam.training.taught import TaughtLabels, labels_of
from flexlam.training.trackers import require_trackers
from flexlam.translator.model import load_translator, read_hash, require_policy, save_translator
from flexlam.translator.serving import Translator

KIND = "tuned-policy"
OPTIMIZER = OptimizerConfig(name="adamw", learning_rate=1e-4)
"""Small steps: both networks know their work already."""
_NUM_EVALUATED = 1024  # validation transitions
_CHUNK = 256


class TunedPolicyConfig(Config):
    """Settings of fine-tuning."""

    labels: LabelBudget | None = None
    """How many labels, and from where; None: the very labels of the translator's run."""
    draw: int = 0
    """Which random draw of the labels, where they are not the translator's."""
    num_steps: int = Field(default=3, ge=1)
    """Euler steps of a flow from noise to a latent; gradients pass through all of them."""
    training: LoopConfig = LoopConfig(num_steps=500, optimizer=OPTIMIZER)
    """The loop; its number of steps is fixed beforehand, not chosen on anything. A batch counts labels."""

    @model_validator(mode="after")
    def _a_draw_needs_a_budget(self) -> Self:
        if self.draw and self.labels is None:
            raise ValueError(
                "draw says which labels of a budget, and without labels.count or labels.fraction they are the "
                "translator's own; give one of these, or no draw"
            )
        return self


class TunedPolicyStage:
    """Batches and losses of fine-tuning.

    A step is about one k, drawn as the latent action model draws it (but never 0) from those that the translator
    serves. As in an agent with that k, the policy generates k slots and the translator tells the action from them.

    Raises:
        ConfigError: the translator serves no k with which the model was trained.
    """

    def __init__(
        self,
        config: TunedPolicyConfig,
        lam: LatentActionModel,
        policy: FramePolicy,
        translator: Translator,
        pairs: SplitPairs,
        labels: TaughtLabels,
    ) -> None:
        self.config, self.lam, self.pairs, self.labels = config, lam, pairs, labels
        self.policy, self.translator = policy, translator.to(policy.device)
        self.module = nn.ModuleDict({"policy": self.policy, "translator": self.translator})
        self.prefix_weights = _prefix_weights(policy, translator)
        batch_size = min(config.training.batch_size, len(labels))
        self.sampler = BatchSampler(len(labels), batch_size, config.training.seed)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Action loss of a batch of labels, on latents drawn from noise."""
        seed = self.config.training.seed
        generator = torch_generator(seed, KIND, step)
        k = int(torch.multinomial(self.prefix_weights, 1, generator=generator))
        with seeded_torch(seed, "dropout", step):
            return self._action_loss(self.labels, self.sampler.rows(step), k, generator), {}

    @torch.inference_mode()
    def evaluate(self, step: int) -> dict[str, float]:
        """Action loss on validation transitions, with the largest k: to be looked at, nothing is chosen on it.

        Nothing where their actions are not known.
        """
        if self.pairs.store.action_spec != self.labels.spec:
            return {}
        index, seed = self.pairs.validation, self.config.training.seed
        order = np.sort(numpy_generator(seed, KIND).permutation(len(index))[:_NUM_EVALUATED])
        generator, k = torch_generator(seed, KIND, "validation"), int(self.prefix_weights.nonzero().max())
        labels = TaughtLabels.recorded(order, index, self.pairs.store)
        chunks = np.array_split(np.arange(len(order)), -(-len(order) // _CHUNK))
        loss = sum(float(self._action_loss(labels, chosen, k, generator)) * len(chosen) for chosen in chunks)
        return {"loss": loss / len(order)}

    def _action_loss(self, labels: TaughtLabels, chosen: np.ndarray, k: int, generator: torch.Generator) -> Tensor:
        policy, translator = self.policy, self.translator
        prev_action, action = (values[chosen].to(policy.device) for values in (labels.prev_action, labels.action))
        images = leading_images(policy, self.pairs.store, labels.index, labels.rows[chosen])
        latents = draw_latents(policy, self.lam.quantizer, images, k, self.config.num_steps, generator)
        outputs = translator(latents, prev_action, k, thumbnails(images[:, -1]))
        return translator.codec.loss(outputs, action).mean()


def draw_latents(
    policy: FramePolicy,
    quantizer: Quantizer,
    images: Float[Tensor, "B n C H W"],
    prefix_length: int,
    num_steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "B K D"]:
    """One valid latent of each decision, from pure noise (zero beyond k), with gradients for the policy.

    What comes out is projected to the nearest valid latent, as in acting. Gradients pass straight through that, as in
    the bottleneck, but not beyond the range of valid latents: what is pushed out there changes no action, and drifts.
    """
    noise = torch.randn(len(images), 1, *policy.centre.shape, generator=generator).to(images.device)
    drawn = policy.generate(policy.features(images), noise, prefix_length, num_steps)[:, 0]  # (B, k, D)
    held, (projected, _) = quantizer.hold(drawn), quantizer.project(drawn.detach())
    straight = held + (projected - held).detach()
    return nn.functional.pad(straight, (0, 0, 0, policy.num_slots - prefix_length))


def _prefix_weights(policy: FramePolicy, translator: Translator) -> Float[Tensor, "{policy.num_slots}+1"]:
    """How often each k is tuned, for k = 0..K."""
    weights = prefix_probabilities(policy.space.prefix_sampling, policy.num_slots)
    for k in range(policy.num_slots + 1):
        if not k or k not in translator.served:
            weights[k] = 0
    if not weights.any():
        raise ConfigError(
            f"The translator serves k = {', '.join(map(str, translator.served))}, and the model was trained with "
            f"none of these above 0 (prefix_sampling {policy.space.prefix_sampling}). Fit another translator."
        )
    return weights


def _require_frame_policy(policy: Policy, path: Path) -> FramePolicy:
    if not isinstance(policy, FramePolicy):
        raise ConfigError(
            f"{path} holds a {policy.kind}. It draws codes one after the other, and no gradient passes through a draw. "
            "Fine-tune a flow or a regression policy (flexlam train policy PRESET --policy.name flow)."
        )
    return policy


def train_tuned_policy(
    config: TunedPolicyConfig,
    lam: Path,
    policy: Path,
    translator: Path,
    data: Path,
    out: Path,
    overwrite: bool = False,
    resume: bool = False,
) -> RunFolder:
    """Fine-tune: OUT/model holds the new policy, OUT/translator its translator, OUT/labels.* the labels.

    These are the translator's own, unless the settings have a budget. Both networks start as they were left: the policy
    by stage 2, the translator by stage 3. What normalises latents and continuous actions stays as it is.

    Raises:
        ConfigError: a sequence model, or a translator that serves no k with which the model was trained.
        DataError: the labels cannot be found or drawn, or their actions are not the translator's.
        CheckpointError, OutputError, TrainingError: see those.
    """
    device = choose_device(config.training.device)
    lam_run, model = open_lam(lam, device)
    pairs = load_pairs(data, lam_run.pairs, model.frame_shape)
    tuned = _require_frame_policy(load_policy(policy, model.hash, device), policy)
    decoder = load_translator(translator, model.hash)
    require_policy(decoder, tuned.hash)
    if config.labels is None:
        labels = labels_of(translator, pairs, lam_run.pairs)
    else:
        drawn = choose_labels(pairs.train, pairs.store, config.labels, config.training.seed, config.draw)
        labels = TaughtLabels.drawn(drawn, pairs)
    if decoder.codec.spec != labels.spec:
        raise DataError(
            f"{data} holds actions {labels.spec}; the translator {translator} speaks {decoder.codec.spec}. Give the "
            "store whose labels it was fitted to, or fit one to labels of this store (flexlam train translator)."
        )
    parents = {
        "lam": model.hash or "",
        "data": pairs.store.content_hash,
        "policy": tuned.hash or "",
        "translator": read_hash(translator),
    }
    run = open_or_plan(out, KIND, config.model_dump(mode="json"), parents, resume)
    if resume and run.finished and (run.path / "translator" / "manifest.json").exists():
        return run
    require_trackers(config.training.trackers)
    stage = TunedPolicyStage(config, model, tuned, decoder, pairs, labels)
    if not resume:
        run.start(overwrite)
    labels.keep(run.path)
    train(stage, config.training, run, "Fine-tuning")
    stage.module.eval()
    new_hash = tuned.save_pretrained(run.model, parents=parents)
    save_translator(
        decoder, run.path / "translator", model.hash or "", data_hash=pairs.store.content_hash, policy_hash=new_hash
    )
    return run

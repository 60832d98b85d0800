"""The agent: observe, encode, predict k codes, null-fill, translate (FlexLAM App. B.5, Algorithm 1)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from torch import Tensor

from flexlam.bottleneck.prefix import check_prefix_length
from flexlam.core.action import ActionSpec
from flexlam.core.config import Config, without_unused
from flexlam.core.errors import CheckpointError, ConfigError, DataError
from flexlam.core.hub import model_folder
from flexlam.core.machine import Device, Precision, choose_device, choose_precision
from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Environment
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images, thumbnails
from flexlam.policy.base import Policy
from flexlam.policy.model import load_policy
from flexlam.translator.model import load_translator, require_policy
from flexlam.translator.serving import Translator


class DrawRule(Config):
    """How a decision is drawn from its distributions: one rule for every method that is compared."""

    num_samples: int = Field(default=8, ge=1)
    """Latent actions drawn for a decision; the translator's scores, and continuous actions, are averaged over them:
    take one draw of a flow, where the mean of several ways to act may be none of them."""
    codes: Literal["sample", "best"] = "sample"
    """Draw latent actions from the policy's distribution, or take the best one: the most likely code slot by slot (of a
    sequence model), or what grows from the middle of the noise (of a flow)."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the averaged distribution from which discrete actions are drawn; 0 takes the most likely one."""
    num_steps: int = Field(default=3, ge=1)
    """Euler steps from noise to a latent action, where the policy is a flow (also --steps)."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Rules of before there were flows keep their hash, and steps of studies their folders."""
        return without_unused(self, handler(self), "num_steps")


class Agent:
    """Acts in one environment or, in one forward pass a step, in many.

    `prefix_length` is k, the codes that are predicted and translated (all K by default); the rest is null-filled. The
    history always holds whole codes, so the same agent serves every k. Without a `rule` a decision takes as many draws
    as suit the policy: one of a flow, because the continuous actions of several are averaged. `precision` is that of
    the encoder, the larger part of a short decision: bf16 is faster where the hardware has it, and moves a code now and
    then.
    """

    def __init__(
        self,
        lam: LatentActionModel,
        policy: Policy,
        translator: Translator,
        prefix_length: int | None = None,
        rule: DrawRule | None = None,
        num_environments: int = 1,
        precision: Precision = "fp32",
    ) -> None:
        k = lam.num_slots if prefix_length is None else prefix_length
        check_prefix_length(k, lam.num_slots)
        if k not in translator.served:
            raise ConfigError(f"The translator serves k = {', '.join(map(str, translator.served))}; got {k}.")
        _check_parts(lam, policy, translator)
        if num_environments < 1:
            raise ConfigError(f"num_environments is {num_environments}; give 1 or more.")
        self.lam, self.policy, self.translator = lam.eval(), policy, translator.to(lam.device).eval()
        policy.eval()
        rule = DrawRule(num_samples=policy.usual_samples) if rule is None else rule
        self.prefix_length, self.rule, self.num_environments = k, rule, num_environments
        self.action_spec: ActionSpec = translator.codec.spec
        self._precision = choose_precision(precision, lam.device)
        self._draws = policy.draws and rule.codes == "sample" and k > 0
        num_samples = rule.num_samples if self._draws else 1
        self._decider = policy.decider(num_environments, num_samples, rule.num_steps)
        self._numbers_shape = policy.random_numbers(np.random.default_rng(0), rule.num_samples).shape
        self._generators: list[np.random.Generator | None] = [None] * num_environments
        self._images = torch.zeros(0)
        self._prev_action = np.full((num_environments, self.action_spec.num_dims), np.nan, np.float32)
        self.on_part: Callable[[str], None] = lambda part: None
        """Called when a part of a decision is done: prepare, encode, context, generate, fill, translate."""
        self.codes = np.zeros((num_environments, num_samples, k), np.int64)
        """The codes of the newest decision."""

    @classmethod
    def load(
        cls,
        lam: str | Path,
        policy: str | Path | None = None,
        translator: str | Path | None = None,
        prefix_length: int | None = None,
        rule: DrawRule | None = None,
        num_environments: int = 1,
        device: Device = "auto",
    ) -> Self:
        """An agent from the run folders (or bundles) of its three parts.

        A shared model (flexlam export model), a folder or hf://OWNER/NAME, may hold the other two. Without a `rule` it
        draws as suits the policy.

        Raises:
            CheckpointError: one is missing, unfinished or damaged, or they do not belong together.
            ConfigError: a k that the translator cannot serve.
        """
        place = choose_device(device)
        lam = model_folder(lam)
        model = LatentActionModel.from_pretrained(lam, place)
        deciding = load_policy(Path(policy or lam / "policy"), model.hash, place)
        speaking = load_translator(Path(translator or lam / "translator"), model.hash)
        return cls(model, deciding, speaking, prefix_length, rule, num_environments)

    def reset(self, environment: int | None = None, seed: int = 0) -> None:
        """An episode begins in one environment; everything random in it follows from the seed.

        Without a number it begins in all of them, in environment i with the seed `seed` + i.

        Raises:
            ConfigError: there is no such environment.
        """
        if environment is not None and not 0 <= environment < self.num_environments:
            raise ConfigError(f"This agent acts in environments 0 to {self.num_environments - 1}; got {environment}.")
        chosen = range(self.num_environments) if environment is None else (environment,)
        for place, number in enumerate(chosen):
            self._decider.reset(number)
            self._generators[number] = numpy_generator(seed + place, "agent")
            self._prev_action[number] = np.nan

    def begin(self, slot: int, environment: Environment, seed: int) -> None:
        """`reset`, after a look at the environment (the protocol of `Actor`).

        Raises:
            DataError: its actions are not those that the translator has learned.
        """
        if environment.action_spec != self.action_spec:
            raise DataError(
                f"The environment takes actions {environment.action_spec}; the translator speaks {self.action_spec}. "
                "Train a translator on labels from this environment (flexlam train translator)."
            )
        self.reset(slot, seed)

    @torch.inference_mode()
    def act(self, frames: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        """The newest frame (H, W, C) uint8 -> an action (A,) float32; with many environments (B, H, W, C) -> (B, A).

        `active` (B,) bool leaves out environments that hold no episode; their rows mean nothing.

        Raises:
            DataError: a frame of another size or type than the model was trained on, or an `active` that is no mask.
            ConfigError: an environment was not reset.
        """
        single = np.ndim(frames) == 3
        new = self._check(np.asarray(frames)[None] if single else np.asarray(frames))
        chosen = np.ones(self.num_environments, bool) if active is None else np.asarray(active)
        if chosen.dtype != bool or chosen.shape != (self.num_environments,):
            raise DataError(
                f"`active` is {chosen.dtype} {chosen.shape}; expected one True or False for each environment, "
                f"bool ({self.num_environments},)."
            )
        if any(self._generators[number] is None for number in np.flatnonzero(chosen)):
            raise ConfigError("An episode begins with `reset()`: call it before the first `act` of every episode.")
        actions = self._decide(new, chosen)
        self._prev_action[chosen] = actions[chosen]
        return actions[0] if single else actions

    def _decide(self, new: Tensor, active: np.ndarray) -> np.ndarray:
        device = self.lam.device
        images = frames_to_images(new.to(device))
        before = self._images if len(self._images) else images
        self.on_part("prepare")
        codes = self._realised(before, images)
        self._images = images
        self.on_part("encode")
        seen = self._decider.observe(images, codes, active)
        self.on_part("context")
        latent_numbers, action_numbers = self._random_numbers(active)
        drawn = self._decider.draw(seen, self.prefix_length, latent_numbers if self._draws else None)
        self.on_part("generate")
        latents, predicted = self._decider.latents(drawn, self.lam.quantizer)
        self.codes = predicted.cpu().numpy()
        self.on_part("fill")
        actions = self._translate(latents.flatten(0, 1), action_numbers, images)
        self.on_part("translate")
        return actions

    def _realised(self, before: Float[Tensor, "B C H W"], images: Float[Tensor, "B C H W"]) -> Int[Tensor, "B K"]:
        """Codes of the newest transition; zeros for a policy that does not read them."""
        if not self.policy.reads_codes:
            return torch.zeros(len(images), self.lam.num_slots, dtype=torch.long, device=images.device)
        narrow = self._precision != torch.float32
        with torch.autocast(self.lam.device.type, self._precision, enabled=narrow):
            return self.lam.encode_images(before, images)[1]

    def _random_numbers(self, active: np.ndarray) -> tuple[Tensor, Tensor]:
        """Numbers for latent actions (B, S, ...) and choices (B, dims): the same for every k, whatever the batch."""
        latents = np.zeros((self.num_environments, *self._numbers_shape))
        choices = np.zeros((self.num_environments, len(self.action_spec.num_choices)))
        for number in np.flatnonzero(active):
            generator = self._generators[number]
            assert generator is not None
            latents[number] = self.policy.random_numbers(generator, self.rule.num_samples)
            choices[number] = generator.random(choices.shape[1])
        return torch.from_numpy(latents).float().to(self.lam.device), torch.from_numpy(choices).float()

    def _translate(
        self, latents: Float[Tensor, "N K D"], numbers: Float[Tensor, "B C"], images: Float[Tensor, "B channels H W"]
    ) -> np.ndarray:
        """Average the translator's scores over the draws of each environment, then choose."""
        num_samples = len(latents) // self.num_environments
        prev_action = torch.from_numpy(self._prev_action).repeat_interleave(num_samples, 0).to(self.lam.device)
        obs = thumbnails(images).repeat_interleave(num_samples, 0) if self.translator.config.use_obs else None
        scores = self.translator(latents, prev_action, self.prefix_length, obs)
        codec = self.translator.codec
        averaged = codec.average(scores.unflatten(0, (-1, num_samples))).cpu()
        return codec.draw(averaged, numbers, self.rule.temperature).numpy()

    def _check(self, frames: np.ndarray) -> Tensor:
        shape = (self.num_environments, *self.lam.frame_shape)
        if frames.dtype != np.uint8 or frames.shape != shape:
            raise DataError(
                f"The agent was given frames {frames.dtype} {frames.shape}; expected uint8 {shape}: one frame "
                "(H, W, C) of the training size for each environment. Resize frames as the training data were."
            )
        return torch.from_numpy(np.require(frames, requirements=["C", "W"]))


def _check_parts(lam: LatentActionModel, policy: Policy, translator: Translator) -> None:
    """Refuse parts that do not belong together.

    Raises:
        CheckpointError: the policy predicts other codes, the translator has learned from the latents of another policy,
            or frames or slots differ.
    """
    ours = (lam.num_slots, lam.quantizer.codebook_size, tuple(lam.frame_shape))
    theirs = (policy.num_slots, policy.codebook_size, tuple(policy.frame_shape))
    if policy.lam_hash != lam.hash or ours != theirs or translator.num_slots != lam.num_slots:
        raise CheckpointError(
            f"These parts do not belong together: the model has hash {lam.hash}, {ours[0]} slots, {ours[1]} codes and "
            f"frames {ours[2]}; the policy predicts model {policy.lam_hash}, {theirs[0]} slots, {theirs[1]} codes, "
            f"frames {theirs[2]}; the translator reads {translator.num_slots} slots. Train policy and translator on "
            "this model (flexlam train policy, flexlam train translator)."
        )
    require_policy(translator, policy.hash)

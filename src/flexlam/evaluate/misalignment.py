"""What a translator makes of a policy's own latents, beside what it makes of encoded ones (LAFP §3.2)."""

from typing import Any

import numpy as np
import torch
from pydantic import Field

from flexlam.core.config import Config
from flexlam.core.seeding import numpy_generator
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.lam.model import LatentActionModel
from flexlam.policy.base import Policy
from flexlam.training.labelled import encode_labelled
from flexlam.training.pairs import SplitPairs
from flexlam.training.predictions import predict_latents
from flexlam.translator.serving import Translator


class MisalignmentConfig(Config):
    """Settings of a measurement of misalignment."""

    prefix_lengths: tuple[int, ...] = ()
    """The k to report; empty means 1, 2, 4, ... and K, as far as the translator serves them."""
    num_transitions: int = Field(default=1000, ge=1)
    """Validation transitions at most."""
    num_samples: int = Field(default=4, ge=1)
    """Latent actions drawn for each of them, from pure noise as an agent does; each is scored by itself."""
    num_steps: int = Field(default=3, ge=1)
    """Euler steps of a flow."""
    seed: int = 0
    """Which transitions, and the draws."""


@torch.inference_mode()
def measure_misalignment(
    lam: LatentActionModel,
    pairs: SplitPairs,
    config: MisalignmentConfig,
    policy: Policy,
    translator: Translator,
) -> dict[str, Any]:
    """Rows (one a k) with the mean loss ‖g(ẑ) − a‖² (cross-entropy of choices) and accuracy on the policy's latents.

    Beside them, the same on encoded latents. All on validation transitions, no label of which was fitted to.

    Raises:
        DataError: the store holds no actions.
        ConfigError: a k that model or translator cannot serve.
    """
    order = numpy_generator(config.seed, "misalignment").permutation(len(pairs.validation))
    rows = np.sort(order[: config.num_transitions])
    encoded = encode_labelled(lam, pairs.store, pairs.validation, rows)
    count = config.num_samples if policy.draws else 1
    lengths = check_prefix_lengths(config.prefix_lengths, lam.num_slots)
    if not config.prefix_lengths:
        lengths = tuple(k for k in lengths if k > 0 and k in translator.served)
    translator = translator.cpu()

    def score(latents: torch.Tensor, k: int, repeats: int) -> tuple[float, float | None]:
        codec, given = translator.codec, (encoded.prev_action, encoded.action, encoded.obs)
        prev_action, action, obs = (x.repeat_interleave(repeats, 0) for x in given)
        outputs = translator(latents, prev_action, k, obs)
        accuracy = float(codec.correct(outputs, action).float().mean()) if codec.spec.num_choices else None
        return float(codec.loss(outputs, action).mean()), accuracy

    def draw(k: int | None) -> torch.Tensor:
        return predict_latents(
            lam, policy, pairs.store, pairs.validation, rows, count, config.seed, config.num_steps, k
        )

    found, whole = [], draw(None) if policy.nested else None
    for k in lengths:
        drawn = draw(k) if whole is None else whole
        loss, accuracy = score(drawn.flatten(0, 1), k, count)
        encoded_loss, encoded_accuracy = score(encoded.latents, k, 1)
        found.append(
            {
                "k": k,
                "action_loss": loss,
                "action_accuracy": accuracy,
                "encoded_action_loss": encoded_loss,
                "encoded_action_accuracy": encoded_accuracy,
            }
        )
    return {"rows": found, "num_transitions": len(rows), "num_samples": count, "num_steps": config.num_steps}

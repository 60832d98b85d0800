"""Actions as network inputs and targets: one-hot choices, standardised continuous values."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from flexlam.core.action import ActionSpec
from flexlam.nn.sampling import pick


class ActionCodec(nn.Module):
    """Encodes the previous action, scores predicted ones; statistics of continuous dimensions are stored with it."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ActionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.out_dim = sum(spec.num_choices) + spec.num_continuous
        self.register_buffer("mean", torch.zeros(spec.num_continuous))
        self.register_buffer("std", torch.ones(spec.num_continuous))

    def fit(self, actions: Float[Tensor, "N A"]) -> None:
        """Take mean and standard deviation of the continuous dimensions from the labelled actions."""
        if self.spec.num_continuous:
            values = self._continuous(actions)
            self.mean.copy_(values.mean(0))
            self.std.copy_(values.std(0, correction=0).clamp_min(1e-6))

    def features(self, actions: Float[Tensor, "B A"]) -> Float[Tensor, "B F"]:
        """Inputs for a network; a row of NaN means that there was no action."""
        none = actions.isnan().any(-1)
        parts = []
        for dim, count in enumerate(self.spec.num_choices):
            index = torch.where(none, float(count), actions[:, dim].nan_to_num())
            parts.append(F.one_hot(index.long(), count + 1).float())
        if self.spec.num_continuous:
            parts += [
                ((self._continuous(actions) - self.mean) / self.std).nan_to_num(0.0),
                none[:, None].float(),
            ]
        return torch.cat(parts, -1)

    def loss(self, outputs: Float[Tensor, "B O"], actions: Float[Tensor, "B A"]) -> Float[Tensor, "B"]:
        """Cross-entropy of each choice plus mean squared error of the standardised continuous part (App. A.4)."""
        total = torch.zeros(len(outputs), device=outputs.device)
        for dim, logits in enumerate(self._logits(outputs)):
            total = total + F.cross_entropy(logits, actions[:, dim].long(), reduction="none")
        if self.spec.num_continuous:
            target = (self._continuous(actions) - self.mean) / self.std
            total = total + (self._means(outputs) - target).square().mean(-1)
        return total

    def predict(self, outputs: Float[Tensor, "B O"]) -> Float[Tensor, "B A"]:
        """The most likely action vector, continuous dimensions in the units of the dataset."""
        choices = [logits.argmax(-1, keepdim=True).float() for logits in self._logits(outputs)]
        return torch.cat([*choices, self._means(outputs) * self.std + self.mean], -1)

    def average(self, outputs: Float[Tensor, "B S O"]) -> Float[Tensor, "B O"]:
        """One set of scores for S guesses: mean probabilities of choices (as logarithms), mean continuous values."""
        flat = outputs.flatten(0, 1)
        choices = [torch.softmax(x, -1).unflatten(0, outputs.shape[:2]).mean(1).log() for x in self._logits(flat)]
        return torch.cat([*choices, self._means(flat).unflatten(0, outputs.shape[:2]).mean(1)], -1)

    def draw(
        self, outputs: Float[Tensor, "B O"], uniforms: Float[Tensor, "B C"], temperature: float
    ) -> Float[Tensor, "B A"]:
        """Choices drawn by one uniform number each, the most likely ones at temperature 0.

        Continuous dimensions are the mean, which is all that is known of them.
        """
        drawn = self.predict(outputs)
        for dim, logits in enumerate(self._logits(outputs) if temperature > 0 else ()):
            drawn[:, dim] = pick(logits / temperature, uniforms[:, dim])
        return drawn

    def correct(self, outputs: Float[Tensor, "B O"], actions: Float[Tensor, "B A"]) -> Bool[Tensor, "B"]:
        """Whether every discrete choice is right; all True where there is none."""
        right = [logits.argmax(-1) == actions[:, dim].long() for dim, logits in enumerate(self._logits(outputs))]
        return torch.stack(right).all(0) if right else torch.ones(len(outputs), dtype=torch.bool)

    def _logits(self, outputs: Tensor) -> list[Tensor]:
        return list(outputs[:, : sum(self.spec.num_choices)].split(list(self.spec.num_choices), dim=-1))

    def _means(self, outputs: Tensor) -> Tensor:
        return outputs[:, sum(self.spec.num_choices) :]

    def _continuous(self, actions: Tensor) -> Tensor:
        return actions[:, len(self.spec.num_choices) :]

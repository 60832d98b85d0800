"""Fit a small model on N labels and choose when to stop on those labels alone: k folds side by side, then a refit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.config import Config
from flexlam.core.errors import TrainingError
from flexlam.core.seeding import numpy_generator, seeded_torch, torch_generator

Model = TypeVar("Model", bound=nn.Module)


class FitConfig(Config):
    """Settings of a fit."""

    learning_rate: float = Field(default=3e-4, gt=0)
    """Constant learning rate of AdamW."""
    weight_decay: float = Field(default=1.0, ge=0)
    """Decoupled weight decay."""
    batch_size: int = Field(default=64, ge=1)
    """Labels a step (all of them, if there are fewer)."""
    max_steps: int = Field(default=2000, ge=1)
    """Steps at most."""
    evaluate_every: int = Field(default=20, ge=1)
    """Steps between held-out losses."""
    patience: int = Field(default=6, ge=1)
    """Evaluations without improvement after which the folds stop."""
    num_folds: int = Field(default=4, ge=2)
    """Parts into which the labels are cut; each is held out once."""


class Fittable(Protocol):
    """A problem to fit: builds fresh models, says how well they do on given labels."""

    def build(self) -> Any:
        """A model with fresh weights, always the same ones."""

    def parts(self, model: Any) -> Sequence[nn.Module]:
        """Independent parts of the model; each gets its own stopping step."""

    def loss(self, model: Any, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Training loss on some of the labels."""

    def heldout(self, model: Any, rows: Tensor) -> Sequence[float]:
        """Held-out loss of each part."""


class Together(Protocol):
    """Several models of a problem in training at once."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What is trained."""

    def train(self) -> Any:
        """Dropout is on."""

    def loss(self, rows: Int[Tensor, "M B"], generator: torch.Generator) -> Tensor:
        """Sum of the models' training losses, each on its own labels."""

    def settle(self) -> None:
        """Leave in the models what was learned."""


@runtime_checkable
class Stackable(Protocol):
    """A problem whose models can be trained side by side in one computation."""

    def together(self, models: Sequence[Any]) -> Together:
        """These models, which are alike."""


@dataclass(frozen=True)
class Fit:
    """A fitted model and how it was chosen."""

    model: Any
    """The fitted nn.Module."""
    num_steps: tuple[int, ...]
    """Chosen steps of each part."""
    heldout_loss: tuple[float, ...]
    """Mean held-out loss of each part at those steps."""


def fit_with_folds(problem: Fittable, num_labels: int, config: FitConfig, seed: int) -> Fit:
    """Choose the number of steps by cross-validation inside the labels, then fit on all of them.

    Raises:
        TrainingError: there are fewer labels than folds.
    """
    if num_labels < config.num_folds:
        raise TrainingError(
            f"{num_labels} labels cannot be cut into {config.num_folds} folds. Give more labels or lower fit.num_folds."
        )
    folds = np.array_split(numpy_generator(seed, "folds").permutation(num_labels), config.num_folds)
    runs = _Runs(
        problem,
        [np.concatenate(folds[:i] + folds[i + 1 :]) for i in range(config.num_folds)],
        config,
        seed,
        "folds",
    )
    curve: list[np.ndarray] = []  # one row (parts,) an evaluation, mean over folds
    while len(curve) * config.evaluate_every < config.max_steps:
        runs.advance(config.evaluate_every)
        losses = [_heldout(problem, model, fold) for model, fold in zip(runs.models, folds, strict=True)]
        curve.append(np.mean(losses, axis=0))
        if len(curve) - 1 - np.argmin(curve, axis=0).max() >= config.patience:
            break
    best = np.argmin(curve, axis=0)
    steps = tuple(int(b + 1) * config.evaluate_every for b in best)
    heldout = tuple(float(curve[b][part]) for part, b in enumerate(best))
    return Fit(_refit(problem, np.arange(num_labels), steps, config, seed), steps, heldout)


def fit_without(problem: Fittable, num_labels: int, fit: Fit, config: FitConfig, seed: int) -> list[tuple[Any, Tensor]]:
    """Models fitted as `fit` was, each without one fold, and the rows of that fold: what it says of them is held out.

    The number of steps was chosen with all folds in view, so this is a little kind.
    """
    folds = np.array_split(numpy_generator(seed, "folds").permutation(num_labels), config.num_folds)
    others = [np.concatenate(folds[:i] + folds[i + 1 :]) for i in range(config.num_folds)]
    return [
        (_refit(problem, rows, fit.num_steps, config, seed), torch.from_numpy(fold))
        for rows, fold in zip(others, folds, strict=True)
    ]


def _heldout(problem: Fittable, model: nn.Module, fold: np.ndarray) -> Sequence[float]:
    model.eval()
    with torch.inference_mode():
        return problem.heldout(model, torch.from_numpy(fold))


def _refit(problem: Fittable, rows: np.ndarray, steps: tuple[int, ...], config: FitConfig, seed: int) -> nn.Module:
    """Train on these labels; each part keeps the weights it had at its own step."""
    runs = _Runs(problem, [rows], config, seed, "all")
    (model,) = runs.models
    kept: dict[int, dict[str, Tensor]] = {}
    for stop in sorted(set(steps)):
        runs.advance(stop - runs.step)
        for number, part in enumerate(problem.parts(model)):
            if steps[number] == stop:
                kept[number] = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    for number, part in enumerate(problem.parts(model)):
        part.load_state_dict(kept[number])
    fitted: nn.Module = model.eval()
    return fitted


class _Runs:
    """Models in training, each on labels of its own; batches are equally large."""

    def __init__(
        self, problem: Fittable, labels: Sequence[np.ndarray], config: FitConfig, seed: int, name: str
    ) -> None:
        self.labels, self.config, self.seed, self.name = [torch.from_numpy(rows) for rows in labels], config, seed, name
        self.models = [problem.build() for _ in labels]
        self.together: Together = (
            problem.together(self.models) if isinstance(problem, Stackable) else _OneByOne(problem, self.models)
        )
        self.generator = torch_generator(seed, "fit", name)
        self.batch_size = min(config.batch_size, min(map(len, labels)))
        self.optimizer = torch.optim.AdamW(
            [p for p in self.together.parameters() if p.requires_grad],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.step = 0
        self.orders = [torch.empty(0, dtype=torch.long) for _ in labels]

    def advance(self, num_steps: int) -> None:
        self.together.train()
        for _ in range(num_steps):
            with seeded_torch(self.seed, "dropout", self.name, self.step):
                loss = self.together.loss(
                    torch.stack([self._batch(i) for i in range(len(self.models))]), self.generator
                )
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
        self.together.settle()

    def _batch(self, number: int) -> Tensor:
        rows, size = self.labels[number], self.batch_size
        if len(self.orders[number]) < size:
            self.orders[number] = torch.randperm(len(rows), generator=self.generator)
        batch, self.orders[number] = self.orders[number][:size], self.orders[number][size:]
        return rows[batch]


class _OneByOne:
    """Any models, one after the other."""

    def __init__(self, problem: Fittable, models: Sequence[nn.Module]) -> None:
        self.problem, self.models = problem, models

    def parameters(self) -> Iterable[nn.Parameter]:
        return chain.from_iterable(model.parameters() for model in self.models)

    def train(self) -> None:
        for model in self.models:
            model.train()

    def loss(self, rows: Int[Tensor, "M B"], generator: torch.Generator) -> Tensor:
        losses = [
            self.problem.loss(model, of_model, generator) for model, of_model in zip(self.models, rows, strict=True)
        ]
        return torch.stack(losses).sum()

    def settle(self) -> None:
        pass


def seeded(build: Callable[[], Model], seed: int, *words: str | int) -> Model:
    """Build a module with weights that depend on the seed alone."""
    with seeded_torch(seed, *words):
        return build()

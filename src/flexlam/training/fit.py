"""Fit a small model on N labels and choose when to stop on those labels alone: k folds in lockstep, then a refit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
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
    runs = [_Run(problem, np.concatenate(folds[:i] + folds[i + 1 :]), config, seed, i) for i in range(config.num_folds)]
    curve: list[np.ndarray] = []  # one row (parts,) an evaluation, mean over folds
    while len(curve) * config.evaluate_every < config.max_steps:
        for run in runs:
            run.advance(config.evaluate_every)
        losses = [_heldout(problem, run.model, fold) for run, fold in zip(runs, folds, strict=True)]
        curve.append(np.mean(losses, axis=0))
        if len(curve) - 1 - np.argmin(curve, axis=0).max() >= config.patience:
            break
    best = np.argmin(curve, axis=0)
    steps = tuple(int(b + 1) * config.evaluate_every for b in best)
    heldout = tuple(float(curve[b][part]) for part, b in enumerate(best))
    return Fit(_refit(problem, num_labels, steps, config, seed), steps, heldout)


def _heldout(problem: Fittable, model: nn.Module, fold: np.ndarray) -> Sequence[float]:
    model.eval()
    with torch.inference_mode():
        return problem.heldout(model, torch.from_numpy(fold))


def _refit(problem: Fittable, num_labels: int, steps: tuple[int, ...], config: FitConfig, seed: int) -> nn.Module:
    """Train on all labels; each part keeps the weights it had at its own step."""
    run = _Run(problem, np.arange(num_labels), config, seed, "all")
    kept: dict[int, dict[str, Tensor]] = {}
    for stop in sorted(set(steps)):
        run.advance(stop - run.step)
        for number, part in enumerate(problem.parts(run.model)):
            if steps[number] == stop:
                kept[number] = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    for number, part in enumerate(problem.parts(run.model)):
        part.load_state_dict(kept[number])
    return run.model.eval()


class _Run:
    """One model in training on some of the labels."""

    def __init__(self, problem: Fittable, rows: np.ndarray, config: FitConfig, seed: int, name: str | int) -> None:
        self.problem, self.rows, self.seed, self.name = problem, torch.from_numpy(rows), seed, name
        self.config = config
        self.model = problem.build()
        self.generator = torch_generator(seed, "fit", name)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.step = 0
        self.order = torch.empty(0, dtype=torch.long)

    def advance(self, num_steps: int) -> None:
        self.model.train()
        for _ in range(num_steps):
            with seeded_torch(self.seed, "dropout", self.name, self.step):
                loss = self.problem.loss(self.model, self._batch(), self.generator)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1

    def _batch(self) -> Tensor:
        size = min(self.config.batch_size, len(self.rows))
        if len(self.order) < size:
            self.order = torch.randperm(len(self.rows), generator=self.generator)
        batch, self.order = self.order[:size], self.order[size:]
        return self.rows[batch]


def seeded(build: Callable[[], Model], seed: int, *words: str | int) -> Model:
    """Build a module with weights that depend on the seed alone."""
    with seeded_torch(seed, *words):
        return build()

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from flexlam.core.errors import TrainingError
from flexlam.training.fit import FitConfig, fit_with_folds, fit_without, seeded

CONFIG = FitConfig(learning_rate=0.05, weight_decay=0.0, batch_size=16, max_steps=200, evaluate_every=10, patience=4)


class Regression:
    """Targets = x·w + noise, fitted by a network with room to overfit."""

    def __init__(self, signal: float, num_labels: int = 40) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(num_labels, 10, generator=generator)
        self.y = signal * self.x[:, :1] + torch.randn(num_labels, 1, generator=generator)

    def build(self) -> nn.Module:
        return seeded(lambda: nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1)), 0, "regression")

    def parts(self, model: nn.Module) -> Sequence[nn.Module]:
        return [model]

    def loss(self, model: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        return (model(self.x[rows]) - self.y[rows]).square().mean()

    def heldout(self, model: nn.Module, rows: Tensor) -> Sequence[float]:
        return [float(self.loss(model, rows, torch.Generator()))]


def test_it_stops_early_on_noise_and_goes_on_while_there_is_signal() -> None:
    noise = fit_with_folds(Regression(signal=0.0), 40, CONFIG, seed=0)
    signal = fit_with_folds(Regression(signal=10.0), 40, CONFIG, seed=0)
    assert noise.num_steps[0] < signal.num_steps[0]
    assert signal.heldout_loss[0] < 0.2 * 100, "far below the variance of the targets"


def test_it_is_a_function_of_labels_and_seed() -> None:
    first, again = (fit_with_folds(Regression(2.0), 40, CONFIG, seed=3) for _ in range(2))
    assert first.num_steps == again.num_steps
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))


def test_the_refit_sees_every_label() -> None:
    problem = Regression(2.0)
    seen: set[int] = set()
    original = problem.loss
    problem.loss = lambda model, rows, generator: (seen.update(rows.tolist()), original(model, rows, generator))[1]  # type: ignore[method-assign]
    fit_with_folds(problem, 40, CONFIG, seed=0)
    assert seen == set(range(40))


class TwoParts(Regression):
    """One part sees signal, the other noise."""

    def __init__(self) -> None:
        super().__init__(10.0)
        self.noise = torch.randn(40, 1, generator=torch.Generator().manual_seed(1))

    def build(self) -> nn.Module:
        return nn.ModuleList([super().build(), super().build()])

    def parts(self, model: nn.Module) -> Sequence[nn.Module]:
        return list(model)  # type: ignore[call-overload]

    def loss(self, model: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        return torch.stack([torch.tensor(v) if isinstance(v, float) else v for v in self._losses(model, rows)]).sum()

    def heldout(self, model: nn.Module, rows: Tensor) -> Sequence[float]:
        return [float(v) for v in self._losses(model, rows)]

    def _losses(self, model: nn.Module, rows: Tensor) -> list[Tensor]:
        a, b = model  # type: ignore[misc]
        return [(a(self.x[rows]) - self.y[rows]).square().mean(), (b(self.x[rows]) - self.noise[rows]).square().mean()]


def test_every_part_stops_at_its_own_step() -> None:
    fit = fit_with_folds(TwoParts(), 40, CONFIG, seed=0)
    alone = fit_with_folds(Regression(10.0), 40, CONFIG, seed=0)
    assert fit.num_steps[0] != fit.num_steps[1]
    assert fit.heldout_loss[0] <= alone.heldout_loss[0] * 1.001, "the noisy part does not cut the other short"


def test_fewer_labels_than_folds_are_refused() -> None:
    with pytest.raises(TrainingError, match="3 labels cannot be cut into 4 folds"):
        fit_with_folds(Regression(1.0, num_labels=3), 3, CONFIG, seed=0)


def test_each_fold_is_foretold_by_a_model_that_never_saw_it() -> None:
    problem = Regression(5.0)
    fit = fit_with_folds(problem, 40, CONFIG, seed=0)
    seen: list[set[int]] = []
    original_build, original_loss = problem.build, problem.loss
    problem.build = lambda: (seen.append(set()), original_build())[1]  # type: ignore[method-assign]
    problem.loss = lambda model, rows, generator: (  # type: ignore[method-assign]
        seen[-1].update(rows.tolist()),
        original_loss(model, rows, generator),
    )[1]
    found = fit_without(problem, 40, fit, CONFIG, seed=0)
    assert len(found) == len(seen) == CONFIG.num_folds
    assert sorted(row for _, rows in found for row in rows.tolist()) == list(range(40)), "each label is held out once"
    for (_, rows), fitted_on in zip(found, seen, strict=True):
        assert fitted_on == set(range(40)) - set(rows.tolist())
    losses = [float((model(problem.x[rows]) - problem.y[rows]).detach().square().mean()) for model, rows in found]
    assert sum(losses) / 4 == pytest.approx(fit.heldout_loss[0], rel=0.5), "near to what the choice of steps saw"
    assert not any(model.training for model, _ in found)

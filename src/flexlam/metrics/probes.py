"""What can be read from a representation: linear and small nonlinear probes, scored on episodes of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from flexlam.core.errors import DataError
from flexlam.core.seeding import seeded_torch, torch_generator

_RIDGES = 10.0 ** np.arange(-6, 4)
"""Ridge penalties to choose from, in shares of the mean eigenvalue of the features' covariance."""
_WIDTH, _LOOK_EVERY, _BATCH, _RATE, _DECAY = 128, 50, 256, 2e-3, 1e-2
"""Size and training of the nonlinear probe."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Features (N, F) with targets (N, T), and the episode (N,) that each row is from."""

    features: np.ndarray
    targets: np.ndarray
    episode: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.targets) == len(self.episode) > 0:
            raise DataError(
                f"A probe was given {len(self.features)} rows of features, {len(self.targets)} of targets and "
                f"{len(self.episode)} episodes; expected as many of each, and at least one."
            )


@dataclass(frozen=True)
class ProbeScore:
    """How well targets are read on test episodes."""

    nmse: float
    """Mean squared error over the variance of the target, averaged over its dimensions: 1 means that nothing is read, 0
    everything. A probe that misleads comes out above 1."""
    stderr: float
    """Standard error over test episodes."""
    accuracy: float | None = None
    """Share of test rows in which the largest of one-hot targets is found; None of targets that are no choices."""


Predictor = Callable[[np.ndarray], np.ndarray]
"""Features (N, F) -> targets (N, T)."""


def linear_probe(train: Samples, validation: Samples, test: Samples, choices: bool = False) -> ProbeScore:
    """Ridge regression in float64; the penalty is the best of ten on the validation rows.

    `choices` marks one-hot targets, of which the largest counts as the answer.

    Raises:
        DataError: rows of unequal numbers.
    """
    scaled = _Scaled(train)
    x, y = scaled.features(train.features), scaled.targets(train.targets)
    values, vectors = np.linalg.eigh(x.T @ x / max(1, len(x)))
    values, projected = values.clip(min=0), vectors.T @ (x.T @ y) / max(1, len(x))
    held = scaled.features(validation.features) @ vectors
    wanted, best, weights = scaled.targets(validation.targets), np.inf, np.zeros((x.shape[1], y.shape[1]))
    scale = max(float(values.mean()), 1e-12) if x.shape[1] else 1.0
    for ridge in _RIDGES:
        candidate = projected / (values + ridge * scale)[:, None]
        loss = float(np.square(held @ candidate - wanted).mean())
        if loss < best:
            best, weights = loss, vectors @ candidate
    return _score(lambda features: scaled.features(features) @ weights, scaled, test, choices)


def mlp_probe(
    train: Samples, validation: Samples, test: Samples, choices: bool = False, seed: int = 0, num_steps: int = 600
) -> ProbeScore:
    """Two hidden layers of 128, AdamW, stopped where the validation rows are predicted best.

    Raises:
        DataError: rows of unequal numbers.
    """
    if not train.features.shape[1]:  # a layer without inputs is none
        return linear_probe(train, validation, test, choices)
    scaled = _Scaled(train)
    x, y = (torch.from_numpy(v).float() for v in (scaled.features(train.features), scaled.targets(train.targets)))
    held = torch.from_numpy(scaled.features(validation.features)).float()
    wanted = torch.from_numpy(scaled.targets(validation.targets)).float()
    with seeded_torch(seed, "probe"):
        net = nn.Sequential(
            *(nn.Linear(x.shape[1], _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH), nn.GELU()),
            nn.Linear(_WIDTH, y.shape[1]),
        )
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    generator, best, kept = torch_generator(seed, "probe rows"), float("inf"), {}
    for step in range(num_steps):
        rows = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator)
        nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % _LOOK_EVERY == 0 or step + 1 == num_steps:
            with torch.no_grad():
                loss = float(nn.functional.mse_loss(net(held), wanted))
            if loss < best:
                best, kept = loss, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)

    def predict(features: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = net(torch.from_numpy(scaled.features(features)).float()).double().numpy()
        return found

    return _score(predict, scaled, test, choices)


class _Scaled:
    """Features and targets in standard deviations of the training rows; constant ones stay at zero."""

    def __init__(self, train: Samples) -> None:
        self._of_features, self._of_targets = (
            (values.mean(0), values.std(0)) for values in (train.features.astype(float), train.targets.astype(float))
        )

    def features(self, values: np.ndarray) -> np.ndarray:
        return self._scale(values, *self._of_features)

    def targets(self, values: np.ndarray) -> np.ndarray:
        return self._scale(values, *self._of_targets)

    @staticmethod
    def _scale(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (values - mean) / np.where(std > 1e-8, std, np.inf)
        return scaled


def _score(predict: Predictor, scaled: _Scaled, test: Samples, choices: bool) -> ProbeScore:
    wanted, predicted = scaled.targets(test.targets), predict(test.features)
    varies = wanted.std(0) > 1e-8
    if not varies.any():
        raise DataError("A probe's target does not vary over the test episodes, so nothing can be read. Record more.")
    wanted, predicted = wanted[:, varies], predicted[:, varies]
    errors = (np.square(predicted - wanted) / np.square(wanted - wanted.mean(0)).mean(0)).mean(1)
    nmse = float(errors.mean())
    accuracy = None
    if choices:  # of raw one-hot columns: scaling must not change which is the largest
        mean, std = scaled._of_targets
        raw = predict(test.features) * std + mean
        accuracy = float((raw.argmax(1) == test.targets.argmax(1)).mean())
    return ProbeScore(nmse, _clustered(errors - nmse, test.episode), accuracy)


def _clustered(deviations: np.ndarray, episode: np.ndarray) -> float:
    """Standard error of a mean over rows that belong together in episodes."""
    _, owner = np.unique(episode, return_inverse=True)
    sums = np.bincount(owner, deviations)
    count = len(sums)
    if count < 2:
        return float("nan")
    return float(np.sqrt(count / (count - 1) * np.square(sums).sum()) / len(deviations))

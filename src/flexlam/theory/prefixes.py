"""Ordered prefixes in the linear case: nested dropout, slots ordered by another objective, translators from N labels.

Keeping the first k of K slots with k ~ p(k) turns every moment of the slots into an expected one: a slot is kept with
P1_j = Pr(k ≥ j), a pair with P2_ij = Pr(k ≥ max(i, j)). Where z holds nothing of the context, the minimisers are those
of full codes in the order of what they explain (Rippel, Gelbart and Adams 2014, theorem 1): `closed_form.minimise`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from flexlam.core.errors import ConfigError, DataError
from flexlam.theory.closed_form import LinearLAM
from flexlam.theory.maps import TOLERANCE, coefficients, inverse_root, residual, spread_of
from flexlam.theory.objectives import Regression


@dataclass(frozen=True)
class PrefixWeights:
    """How often slots are kept, alone and in pairs."""

    single: Float64[np.ndarray, "k"]
    """P1."""
    pairs: Float64[np.ndarray, "k k"]
    """P2."""


def full_code(num_slots: int) -> PrefixWeights:
    """Every slot is always kept."""
    return PrefixWeights(np.ones(num_slots), np.ones((num_slots, num_slots)))


def uniform_prefixes(num_slots: int) -> PrefixWeights:
    """k ~ Unif{0, ..., K}, FlexLAM's default."""
    return prefix_weights(np.full(num_slots + 1, 1 / (num_slots + 1)))


def prefix_weights(probabilities: Float64[np.ndarray, "k_and_1"]) -> PrefixWeights:
    """P1 and P2 of a distribution over k = 0, ..., K.

    Raises:
        ConfigError: it is none.
    """
    if len(probabilities) < 2 or probabilities.min() < 0 or not np.isclose(probabilities.sum(), 1):
        raise ConfigError(
            f"p(k) is {probabilities.tolist()!r:.200}; expected one for each k = 0 to K, two or more that add up to 1."
        )
    single = np.cumsum(probabilities[::-1])[::-1][1:]
    place = np.arange(len(single))
    return PrefixWeights(single, single[np.maximum(place[:, None], place[None])])


def truncated(lam: LinearLAM, prefix_length: int) -> LinearLAM:
    """The model with its first k slots; the null latent is 0, the mean.

    Raises:
        ConfigError: k is below 1 or above the number of slots.
    """
    if not 1 <= prefix_length <= lam.latent_dim:
        raise ConfigError(f"prefix_length is {prefix_length}; the model has 1 to {lam.latent_dim} slots.")
    return LinearLAM(lam.context, lam.decoder[:, :prefix_length], lam.encoder[:prefix_length])


def reordered(lam: LinearLAM, first: Regression, then: Regression) -> LinearLAM:
    """The same code in another order: by what slots explain of the first target, and what is left by the second.

    With a remedy's target first and reconstruction's second, short prefixes are endogenous and the whole code tells
    what it told before. Both regressions belong to the same world, and have o as context. Context and decoder predict
    the second target. Slots without variance come last.
    """
    z = residual(lam.encoder @ then.inputs, then.context)
    whitener = inverse_root(z)  # q = T z is white in as many directions as z has
    basis = np.linalg.svd(whitener, full_matrices=False)
    whitener = basis[2][basis[1] > TOLERANCE * basis[1].max(initial=0.0)] @ whitener  # (r, k)

    def fitted(regression: Regression) -> np.ndarray:
        q = residual(whitener @ lam.encoder @ regression.inputs, regression.context)
        target = residual(regression.target, regression.context)
        return target @ q.T

    _, gains, by_first = np.linalg.svd(fitted(first), full_matrices=True)
    rank = int(np.sum(gains > TOLERANCE * spread_of(first.target)))
    rest = by_first[rank:]
    if len(rest):
        rest = np.linalg.svd(fitted(then) @ rest.T, full_matrices=True)[2] @ rest
    encoder = np.zeros_like(lam.encoder)
    encoder[: len(whitener)] = np.vstack([by_first[:rank], rest]) @ whitener @ lam.encoder
    latents = encoder @ then.inputs
    decoder = coefficients(residual(then.target, then.context), residual(latents, then.context))
    return LinearLAM(coefficients(then.target - decoder @ latents, then.context), decoder, encoder)


Labels = Float64[np.ndarray, "m a"]
Latents = Float64[np.ndarray, "n k"]
Translator = Float64[np.ndarray, "k a"]


def prefix_sampled_translator(z: Latents, action: Labels, weights: PrefixWeights) -> Translator:
    """W that minimises the labels' squared error over random prefixes: (ZᵀZ ∘ P2) W = ZᵀA ∘ P1.

    One solution for all k: a prefix of the code goes through the same rows of W. It is unique with fewer labels than
    slots, too, if every k has a probability (P2 is then positive definite; Schur 1911).

    Raises:
        DataError: numbers of labels and codes differ, or there are none.
    """
    _check_labels(z, action)
    left, right = (z.T @ z) * weights.pairs, (z.T @ action) * weights.single[:, None]
    return np.linalg.lstsq(left, right, rcond=None)[0]


def least_squares_translator(z: Latents, action: Labels) -> Translator:
    """Least squares on whole codes, of smallest norm where labels are fewer than slots.

    On a prefix of the code it is the translator of that prefix length.

    Raises:
        DataError: numbers of labels and codes differ, or there are none.
    """
    _check_labels(z, action)
    return np.linalg.lstsq(z, action, rcond=None)[0]


def tuned_ridge_translator(
    z: Latents, action: Labels, penalties: Sequence[float], num_folds: int, generator: np.random.Generator
) -> Translator:
    """Ridge with the penalty that folds inside the N labels choose, then fitted on all of them.

    A penalty is relative: it is multiplied by N, and slots are expected to have a variance near 1.

    Raises:
        DataError: numbers of labels and codes differ, or fewer labels than folds.
        ConfigError: no penalty, one that is not positive, or fewer than two folds.
    """
    _check_labels(z, action)
    if not penalties or min(penalties) <= 0 or num_folds < 2:
        raise ConfigError(f"Penalties are {list(penalties)}, folds {num_folds}; give positive penalties and two folds.")
    if len(z) < num_folds:
        raise DataError(f"{len(z)} labels cannot be divided into {num_folds} folds. Give more labels or fewer folds.")
    folds = np.array_split(generator.permutation(len(z)), num_folds)
    losses = []
    for penalty in penalties:
        loss = 0.0
        for fold in folds:
            kept = np.delete(np.arange(len(z)), fold)
            loss += float(np.sum((action[fold] - z[fold] @ _ridge(z[kept], action[kept], penalty)) ** 2))
        losses.append(loss)
    return _ridge(z, action, penalties[int(np.argmin(losses))])


def translation_nmse(
    translator: Translator, z: Float64[np.ndarray, "k u"], action: Float64[np.ndarray, "a u"]
) -> float:
    """A translator's expected squared error over all transitions, as a share of the action's variance."""
    return float(np.sum((action - translator.T @ z) ** 2) / np.sum(action**2))


def _ridge(z: np.ndarray, action: np.ndarray, penalty: float) -> np.ndarray:
    gram = z.T @ z + penalty * len(z) * np.eye(z.shape[1])
    return np.linalg.solve(gram, z.T @ action)


def _check_labels(z: np.ndarray, action: np.ndarray) -> None:
    if len(z) != len(action) or not len(z):
        raise DataError(f"A translator learns from pairs; got {len(z)} codes and {len(action)} actions.")

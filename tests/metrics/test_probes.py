import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.metrics.probes import ProbeScore, Samples, linear_probe, mlp_probe


def make(targets_of, num_rows: int = 3000, width: int = 6, seed: int = 0) -> tuple[Samples, Samples, Samples]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_rows, width))
    targets, episode = targets_of(features, rng), np.repeat(np.arange(num_rows // 50), 50)
    parts = np.split(np.arange(num_rows), [num_rows // 3, 2 * num_rows // 3])
    train, validation, test = (Samples(features[p], targets[p], episode[p]) for p in parts)
    return train, validation, test


def noisy(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Three parts in four of the variance are linear in the features."""
    signal = features @ np.ones((6, 2)) / np.sqrt(6)
    return 5 + 10 * (np.sqrt(0.75) * signal + np.sqrt(0.25) * rng.standard_normal(signal.shape))


@pytest.mark.parametrize("probe", [linear_probe, mlp_probe])
def test_what_is_linear_is_read_up_to_its_noise(probe) -> None:
    score = probe(*make(noisy))
    assert score.nmse == pytest.approx(0.25, abs=0.03)
    assert 0.003 < score.stderr < 0.03 and score.accuracy is None


@pytest.mark.parametrize("probe", [linear_probe, mlp_probe])
def test_nothing_is_read_where_nothing_is(probe) -> None:
    assert probe(*make(lambda features, rng: rng.standard_normal((len(features), 3)))).nmse == pytest.approx(
        1, abs=0.03
    )


def test_a_product_is_read_by_the_nonlinear_probe_alone() -> None:
    samples = make(lambda features, rng: features[:, :1] * features[:, 1:2])
    assert linear_probe(*samples).nmse > 0.9
    assert mlp_probe(*samples).nmse < 0.2


def test_the_answer_to_a_choice_is_the_likeliest_not_the_most_unusual() -> None:
    def choice(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.eye(3)[np.where(features[:, 0] > 1.5, 2, np.where(features[:, 1] > 0, 1, 0))]

    score = linear_probe(*make(choice), choices=True)
    assert score.accuracy is not None and score.accuracy > 0.85
    rare = make(lambda features, rng: np.eye(2)[(rng.random(len(features)) < 0.1).astype(int)])
    assert linear_probe(*rare, choices=True).accuracy == pytest.approx(0.9, abs=0.03)


def test_the_ridge_is_chosen_where_features_outnumber_rows() -> None:
    def first(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return features[:, :1] + rng.standard_normal((len(features), 1))

    assert linear_probe(*make(first, num_rows=300, width=90)).nmse < 1.0


def test_no_features_and_constant_dimensions() -> None:
    train, validation, test = make(noisy, width=6)
    empty = [Samples(part.features[:, :0], part.targets, part.episode) for part in (train, validation, test)]
    assert linear_probe(*empty).nmse == pytest.approx(1, abs=0.01)
    assert mlp_probe(*empty).nmse == pytest.approx(1, abs=0.01)
    widened = [
        Samples(part.features, np.hstack([part.targets, np.full((len(part.targets), 1), 7.0)]), part.episode)
        for part in (train, validation, test)
    ]
    assert linear_probe(*widened).nmse == pytest.approx(linear_probe(train, validation, test).nmse)


def test_rows_of_an_episode_that_share_an_error_do_not_count_as_many() -> None:
    def shared(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.repeat(rng.standard_normal((len(features) // 50, 1)), 50, axis=0)

    def alone(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((len(features), 1))

    assert linear_probe(*make(shared)).stderr > 3 * linear_probe(*make(alone)).stderr


def test_bad_rows_are_told() -> None:
    with pytest.raises(DataError, match="3 rows of features, 2 of targets"):
        Samples(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(3))
    train, validation, test = make(noisy)
    flat = Samples(test.features, np.zeros_like(test.targets), test.episode)
    with pytest.raises(DataError, match="does not vary"):
        linear_probe(train, validation, flat)


def test_the_same_seed_gives_the_same_score() -> None:
    one, other = mlp_probe(*make(noisy), seed=3), mlp_probe(*make(noisy), seed=3)
    assert isinstance(one, ProbeScore) and one == other

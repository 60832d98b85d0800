import numpy as np
import pytest
from gymnasium import spaces

from flexlam.core.errors import SuiteError
from flexlam.envs.gymnasium_actions import translate


@pytest.mark.parametrize(
    ("space", "choices"),
    [
        (spaces.Discrete(3), (3,)),
        (spaces.Discrete(3, start=-1), (3,)),
        (spaces.MultiDiscrete([2, 5, 3]), (2, 5, 3)),
        (spaces.MultiDiscrete([2, 4], start=[7, -2]), (2, 4)),
        (spaces.MultiBinary(3), (2, 2, 2)),
    ],
    ids=str,
)
def test_every_index_is_a_choice_of_the_space_and_no_two_are_the_same(
    space: spaces.Space, choices: tuple[int, ...]
) -> None:
    actions = translate(space, "Toy-v0")
    assert actions.spec.num_choices == choices
    vectors = np.stack(np.meshgrid(*(np.arange(n) for n in choices)), -1).reshape(-1, len(choices))
    executed = [actions.execute(vector.astype(np.float32)) for vector in vectors]
    assert all(chosen in space for chosen in executed)
    assert len({str(chosen) for chosen in executed}) == np.prod(choices)


def test_indices_count_from_the_first_choice() -> None:
    assert translate(spaces.Discrete(3, start=5), "").execute(np.array([2], np.float32)) == 7
    several = translate(spaces.MultiDiscrete([2, 4], start=[7, -2]), "").execute(np.array([1, 0], np.float32))
    np.testing.assert_array_equal(several, [8, -2])


def test_random_choices_are_uniform_in_every_dimension() -> None:
    actions, generator = translate(spaces.MultiDiscrete([2, 4], start=[7, -2]), ""), np.random.default_rng(0)
    drawn = np.stack([actions.sample(generator) for _ in range(4000)])
    assert drawn.dtype == np.float32
    for column, count in zip(drawn.T, (2, 4), strict=True):
        share = np.bincount(column.astype(int), minlength=count) / len(column)
        np.testing.assert_allclose(share, 1 / count, atol=0.03)


def test_continuous_actions_are_clipped_to_the_bounds_that_there_are() -> None:
    low, high = np.array([-1, 0, -np.inf], np.float32), np.array([2, np.inf, np.inf], np.float32)
    actions = translate(spaces.Box(low, high), "")
    assert actions.spec.num_continuous == 3
    np.testing.assert_array_equal(actions.execute(np.array([9, -9, -9], np.float32)), [2, 0, -9])
    np.testing.assert_array_equal(actions.execute(np.array([0.5, 9, 9], np.float32)), [0.5, 9, 9])
    assert actions.execute(np.zeros(3, np.float32)) in spaces.Box(low, high)


def test_random_continuous_actions_follow_the_bounds() -> None:
    low, high = np.array([-1, 3, -np.inf, -np.inf]), np.array([2, np.inf, -3, np.inf])
    actions, generator = translate(spaces.Box(low, high, dtype=np.float64), ""), np.random.default_rng(0)
    drawn = np.stack([actions.sample(generator) for _ in range(4000)])
    assert drawn.dtype == np.float32
    uniform, from_below, from_above, free = drawn.T
    assert -1 <= uniform.min() < -0.99 and 1.99 < uniform.max() <= 2 and abs(uniform.mean() - 0.5) < 0.05
    assert from_below.min() >= 3 and abs(from_below.mean() - 4) < 0.1
    assert from_above.max() <= -3 and abs(from_above.mean() + 4) < 0.1
    assert abs(free.mean()) < 0.06 and abs(free.std() - 1) < 0.05


@pytest.mark.parametrize(
    "space",
    [
        spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (1,))]),
        spaces.Dict(a=spaces.Discrete(2)),
        spaces.MultiDiscrete([[2, 3], [2, 3]]),
        spaces.MultiBinary([2, 2]),
        spaces.Box(-1, 1, (2, 2)),
        spaces.Box(-1, 1, ()),
        spaces.Box(0, 5, (2,), np.int64),
        spaces.Text(3),
    ],
    ids=str,
)
def test_mixtures_and_other_spaces_are_refused(space: spaces.Space) -> None:
    with pytest.raises(SuiteError, match=r"(?s)Toy-v0 has the action space .* expected Discrete"):
        translate(space, "Toy-v0")


@pytest.mark.parametrize("space", [spaces.Discrete(1), spaces.MultiDiscrete([3, 1])], ids=str)
def test_a_single_choice_is_refused(space: spaces.Space) -> None:
    with pytest.raises(SuiteError, match="two choices or more"):
        translate(space, "Toy-v0")

import numpy as np
import pydantic
import pytest

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError

MIXED = ActionSpec(num_choices=(3, 2), num_continuous=2)


@pytest.mark.parametrize(
    ("spec", "dims", "features"),
    [(ActionSpec(num_choices=(18,)), 1, 19), (ActionSpec(num_continuous=7), 7, 8), (MIXED, 4, 4 + 3 + 3)],
)
def test_sizes(spec: ActionSpec, dims: int, features: int) -> None:
    assert (spec.num_dims, spec.num_features) == (dims, features)


@pytest.mark.parametrize("values", [{}, {"num_choices": (1,)}, {"num_continuous": -1}, {"num_choices": (0, 3)}])
def test_impossible_specs_are_refused(values: dict) -> None:
    with pytest.raises(pydantic.ValidationError, match="at least one dimension"):
        ActionSpec(**values)
    with pytest.raises(ConfigError):
        ActionSpec.parse(values)


def test_fitting_actions_pass() -> None:
    MIXED.check(np.array([[0, 0, -5.5, 1e6], [2, 1, 0, 0]], dtype=np.float32), "here")
    MIXED.check(np.zeros((0, 4), dtype=np.float32), "here")
    MIXED.check(np.zeros((2, 3, 4), dtype=np.float32), "here")


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([[0, 0, 0]], "have 3 dimensions; expected 4"),
        ([[0, 0, np.nan, 0]], "NaN or infinity"),
        ([[0, 0, np.inf, 0]], "NaN or infinity"),
        ([[3, 0, 0, 0]], "dimension 0 holds 3; expected a whole number from 0 to 2"),
        ([[0, -1, 0, 0]], "dimension 1 holds -1; expected a whole number from 0 to 1"),
        ([[0.5, 0, 0, 0]], "dimension 0 holds 0.5"),
    ],
)
def test_actions_that_do_not_fit_are_refused(actions: list, message: str) -> None:
    with pytest.raises(DataError, match=f"episode 7: .*{message}"):
        MIXED.check(np.array(actions, dtype=np.float32), "episode 7")


def test_a_spec_survives_json() -> None:
    assert ActionSpec.parse(MIXED.model_dump(mode="json")) == MIXED

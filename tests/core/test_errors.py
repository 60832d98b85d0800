import pytest

from flexlam.core import errors
from flexlam.core.errors import FlexlamError, did_you_mean


def test_the_nearest_name_is_offered() -> None:
    assert did_you_mean("uniformm", ["uniform", "full"]) == "Did you mean 'uniform'? Known: full, uniform."


def test_a_far_name_gets_the_list_only() -> None:
    assert did_you_mean("zzz", ["uniform", "full"]) == "Known: full, uniform."


@pytest.mark.parametrize("name", ["ConfigError", "DataError", "CheckpointError", "OutputError", "SuiteError"])
def test_one_tree(name: str) -> None:
    assert issubclass(getattr(errors, name), FlexlamError)

import sys

import pytest

from flexlam.core import catalog
from flexlam.core.errors import ConfigError
from flexlam.data.readers.lerobot import LeRobotReader


def test_lookup_imports_what_a_name_stands_for() -> None:
    assert catalog.lookup("reader", "lerobot") is LeRobotReader


def test_names_are_sorted() -> None:
    assert catalog.names("decoder") == ["flow", "regression"]


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no decoder called 'regresion'. Did you mean 'regression'"):
        catalog.lookup("decoder", "regresion")


def test_a_misspelt_kind_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no kind of component called 'decodr'. Did you mean 'decoder'"):
        catalog.names("decodr")


def test_a_missing_optional_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.CATALOG["decoder"], "exotic", "not_installed_anywhere.sub:Thing")
    with pytest.raises(ConfigError, match=r"'exotic' needs the package 'not_installed_anywhere'.*pip install"):
        catalog.lookup("decoder", "exotic")


def test_a_missing_module_of_our_own_is_a_bug_and_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalog.CATALOG["decoder"], "gone", "flexlam.lam.decoders.gone:Gone")
    with pytest.raises(ModuleNotFoundError):
        catalog.lookup("decoder", "gone")
    assert "flexlam.lam.decoders.gone" not in sys.modules

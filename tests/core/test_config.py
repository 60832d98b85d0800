import json
from pathlib import Path

import pydantic
import pytest

from flexlam.core.config import Config, without_unused
from flexlam.core.errors import ConfigError
from flexlam.lam.model import LatentActionModel

LamConfig = LatentActionModel.Config


class Inner(Config):
    """Inner."""

    width: int = 3


class Outer(Config):
    """Outer."""

    inner: Inner = Inner()
    rates: tuple[float, ...] = (1.0, 0.5)


def test_settings_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Inner().width = 4


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_settings_survive_the_disk(tmp_path: Path, suffix: str) -> None:
    values = {"num_slots": 3, "quantizer": {"name": "fsq", "levels": [3, 4]}, "decoder": {"name": "flow"}}
    config = LamConfig.parse(values)
    config.save(tmp_path / f"config{suffix}")  # JSON is YAML
    assert LamConfig.load(tmp_path / f"config{suffix}") == config


def test_what_is_saved_is_complete(tmp_path: Path) -> None:
    LamConfig().save(tmp_path / "config.json")
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["quantizer"]["levels"] == [8, 5, 5, 5]
    assert {"name", "patch_size", "dim", "depth", "num_heads"} <= saved["decoder"].keys()


def test_hash_follows_every_setting() -> None:
    assert Outer().hash() == Outer().hash()
    assert len({Outer().hash(), Outer(inner=Inner(width=4)).hash(), Outer(rates=(1.0,)).hash()}) == 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"widht": 4}}, "inner.widht: unknown setting. Did you mean 'width'"),
        ({"iner": {}}, "iner: unknown setting. Did you mean 'inner'"),
        ({"inner": {"width": "wide"}}, "inner.width: got 'wide'"),
        ("text", "top level"),
        (None, "top level"),
    ],
)
def test_bad_values_are_named_with_their_place(values: object, message: str) -> None:
    with pytest.raises(ConfigError, match="my file cannot be used") as caught:
        Outer.parse(values, where="my file")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "fsq", "levles": [5]}, "quantizer.levles: unknown setting. Did you mean 'levels'"),
        ({"name": "fqs"}, "no quantizer called 'fqs'. Did you mean 'fsq'"),
        ({"name": "regression"}, "no quantizer called 'regression'"),
        ({"name": 5}, "no quantizer called '5'"),
        ({"levels": [5]}, "quantizer.name"),
        ("fsq", "quantizer"),
    ],
)
def test_bad_components_are_explained(values: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LamConfig.parse({"quantizer": values})
    assert message in str(caught.value)


def test_a_component_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder"):
        LamConfig.parse({"encoder": LamConfig().decoder})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{unclosed", "neither JSON nor YAML"), (b"\xff\xfe\x00", "neither JSON nor YAML"), (b"", "top level")],
)
def test_unreadable_files_are_explained(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        Outer.load(tmp_path / "config.yaml")


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Outer.load(tmp_path / "nowhere.yaml")


def test_what_came_later_is_written_only_where_it_is_used() -> None:
    for rates, written in (((1.0, 0.5), {"inner"}), ((2.0,), {"inner", "rates"})):
        config = Outer(rates=rates)
        assert without_unused(config, config.model_dump(), "rates").keys() == written
    assert without_unused(Outer(), Outer().model_dump()).keys() == {"inner", "rates"}

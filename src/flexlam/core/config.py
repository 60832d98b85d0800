"""Settings: frozen, typed, complete, the same in Python, on the command line and on disk."""

import inspect
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, SerializeAsAny, ValidationError, model_validator

from flexlam.core import catalog
from flexlam.core.errors import ConfigError, did_you_mean
from flexlam.core.files import content_hash, write_text


class Config(BaseModel):
    """Base of every group of settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def hash(self) -> str:
        """Short content hash of all settings."""
        return content_hash(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode())

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")

    @classmethod
    def parse(cls, values: Any, where: str = "the configuration") -> Self:
        """Check plain values and build the settings.

        Raises:
            ConfigError: names every key that is unknown or has a bad value, and where it stands.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{where} cannot be used:\n{_explain(cls, error, values)}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read JSON or YAML.

        Raises:
            ConfigError: the file is missing, is no JSON or YAML, or holds bad values.
        """
        try:
            return cls.parse(yaml.safe_load(path.read_text()), where=str(path))
        except OSError as error:
            raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is neither JSON nor YAML: {error}") from error


def without_unused(config: BaseModel, values: dict[str, Any], *later: str) -> dict[str, Any]:
    """What is written of settings, less those that came later and have their default.

    So settings of before keep their hash, and steps of studies their folders.
    """
    fields = type(config).model_fields
    unused = [name for name in later if getattr(config, name) == fields[name].default]
    return {name: value for name, value in values.items() if name not in unused}


class ComponentConfig(Config):
    """Settings of a component that is chosen by name: `name` is looked up in the catalogue."""

    kind: ClassVar[str]
    unnamed: ClassVar[str | None] = None
    """What settings without a name are of: the only one of its kind when they were written."""
    name: str

    @model_validator(mode="wrap")
    @classmethod
    def _choose_by_name(cls, values: Any, handler: Any) -> Any:
        if isinstance(values, dict) and "name" not in inspect.get_annotations(cls):
            name = values.get("name", cls.unnamed)
            if name is not None:
                return catalog.lookup(cls.kind, str(name)).Config.model_validate(values)
        return handler(values)


def component(config_class: type[ComponentConfig]) -> Any:
    """Annotation for a field that holds any component of one kind, complete on disk."""
    return Annotated[config_class, SerializeAsAny()]  # type: ignore[type-arg]


def _explain(cls: type[BaseModel], error: ValidationError, values: Any) -> str:
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            known = _fields(cls, item["loc"], values)
            lines.append(f"  {where}: unknown setting. {did_you_mean(str(item['loc'][-1]), known)}")
        else:
            lines.append(f"  {where}: got {item['input']!r}; {item['msg']}.")
    return "\n".join(lines)


def _fields(cls: type[BaseModel], location: tuple[int | str, ...], values: Any) -> list[str]:
    """Names of the settings that are known where an unknown one was found."""
    for part in location[:-1]:
        field = cls.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        cls = field.annotation
        values = values.get(part) if isinstance(values, dict) else None
        if issubclass(cls, ComponentConfig) and isinstance(values, dict):
            name = values.get("name", cls.unnamed)
            cls = cls if name is None else catalog.lookup(cls.kind, str(name)).Config
    return list(cls.model_fields)

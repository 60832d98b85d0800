"""From words on the command line to settings: a verb's own options, and overrides of a preset."""

import contextlib
import dataclasses
import io
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar, get_args

import tyro
from pydantic import ValidationError

from flexlam.core import catalog
from flexlam.core.config import ComponentConfig, Config
from flexlam.core.errors import ConfigError, OutputError, did_you_mean
from flexlam.core.progress import set_quiet

Options = TypeVar("Options")

_SHORT = {
    "training": {"--device": "--training.device", "--precision": "--training.precision"},
    "rule": {"--steps": "--rule.num-steps"},
}
"""Settings of a group that may go by a short name, where a verb has that group once."""
_NUMBERS = {"INT": "a whole number", "FLOAT": "a number"}
"""What tyro calls a value, in words."""


def parse_options(options: type[Options], prog: str, arguments: Sequence[str]) -> Options:
    """A verb without a preset: its dataclass of options, filled in.

    Raises:
        ConfigError, OutputError: options that contradict each other.
    """
    parsed: Options = _parse(options, prog, arguments)
    _check(parsed)
    return parsed


def parse_with_preset(options: type[Options], part: str, prog: str, arguments: Sequence[str]) -> tuple[Options, Any]:
    """A verb with a preset: the verb's options, and the part of the preset that it uses with all overrides applied.

    Raises:
        ConfigError: no preset or an unknown one, a setting out of range, options that contradict each other.
        OutputError: the output would replace what is read.
    """
    name, rest = _preset_name(prog, options, arguments)
    from flexlam.presets.base import load_preset

    about = f"{options.__doc__} Settings start from the preset {name}."
    return parse_with_settings(options, getattr(load_preset(name), part), f"{prog} {name}", rest, about)


def parse_with_settings(
    options: type[Options], default: Config, prog: str, arguments: Sequence[str], about: str
) -> tuple[Options, Any]:
    """A verb's options, and settings with all overrides applied.

    Raises:
        ConfigError, OutputError: as above.
    """
    groups = (short for group, short in _SHORT.items() if group in type(default).model_fields)
    known = {short: flag for group in groups for short, flag in group.items()}
    words = [argument.partition("=") for argument in arguments]
    arguments = [known.get(flag, flag) + equals + value for flag, equals, value in words]
    default = _with_components(_with_groups(default, arguments), arguments)
    fields = [
        ("options", Annotated[options, tyro.conf.arg(name="")], dataclasses.field()),
        ("settings", Annotated[type(default), tyro.conf.arg(name="")], dataclasses.field(default=default)),
    ]
    both = dataclasses.make_dataclass("Arguments", fields)
    typed = {flag: short for short, flag in known.items() if any(word == short for word, _, _ in words)}
    parsed: Any = _parse(both, prog, arguments, about, typed)
    _check(parsed.options)
    # Validated once more: overrides were checked field by field, rules between fields were not.
    return parsed.options, type(default).parse(parsed.settings.model_dump(), where="the command line")


def _parse(
    what: type,
    prog: str,
    arguments: Sequence[str],
    description: str | None = None,
    typed: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """What tyro makes of the arguments. A refused value is told in our words instead of pydantic's or Python's.

    `typed` has the short names under which options were given.
    """
    said = io.StringIO()
    marks = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(what, prog=prog, description=description, args=list(arguments), config=marks)
    except ValidationError as error:  # of settings that stand in no group
        raise ConfigError(_explain(error, "", prog, typed)) from None
    except SystemExit as stop:
        # tyro leaves while handling its own error, which it raised while handling pydantic's or Python's.
        refused: Any = getattr(stop.__context__, "__context__", None)
        where: Any = getattr(stop.__context__, "arg", "")
        if isinstance(refused, ValidationError):
            raise ConfigError(_explain(refused, str(where), prog, typed)) from None
        number = _NUMBERS.get(getattr(getattr(where, "lowered", None), "metavar", "").split("|")[0])
        if isinstance(refused, ValueError) and number is not None:
            flag = where.lowered.name_or_flags[-1]
            raise ConfigError(f"{typed.get(flag, flag)}: expected {number}; {_got(flag, arguments)}.") from None
        print(said.getvalue(), end="", file=sys.stderr)
        raise


def _got(flag: str, arguments: Sequence[str]) -> str:
    """The value that an option was given, in words."""
    given = [value for word, value in itertools.pairwise(arguments) if word == flag]
    given += [argument.removeprefix(f"{flag}=") for argument in arguments if argument.startswith(f"{flag}=")]
    return f"got {given[-1]!r}" if given else "got something else"


def _explain(error: ValidationError, group: str, prog: str, typed: Mapping[str, str]) -> str:
    lines = []
    for item in error.errors(include_url=False):
        words = [*group.split(".")[1:], *(part for part in item["loc"] if isinstance(part, str))]
        got = "" if isinstance(item["input"], dict) else f" got {item['input']!r};"
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        flag = f"--{'.'.join(words).replace('_', '-')}"
        lines.append(f"{typed.get(flag, flag)}:{got} {message}." if words else f"{message}.")
    return "\n".join([*lines, f"All settings: {prog} --help"])


def _check(options: Any) -> None:
    """Rules between options that several verbs share, and the choice between bars and silence.

    Raises:
        ConfigError: both --resume and --overwrite.
        OutputError: the output folder is, or holds, something that the verb reads.
    """
    set_quiet(getattr(options, "quiet", False))
    if getattr(options, "resume", False) and getattr(options, "overwrite", False):
        raise ConfigError(
            "--resume and --overwrite contradict each other. Give --resume to continue the run in the folder, "
            "or --overwrite to start anew."
        )
    out = getattr(options, "out", None)
    for name in ("path", "run", "data", "lam", "policy", "translator"):
        source: Path | str | None = getattr(options, name, None)
        if out and source and "://" not in str(source) and Path(source).resolve().is_relative_to(out.resolve()):
            raise OutputError(f"The output {out} would replace {source}, which is read. Choose another --out folder.")


def _with_groups(config: Config, arguments: Sequence[str]) -> Config:
    """The settings with every group that is None begun of which an option names a setting (`--labels.count`)."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--"):
            config = _with_group(config, flag.removeprefix("--").replace("-", "_").split("."))
    return config


def _with_group(config: Config, path: list[str]) -> Config:
    name, *rest = path
    if not rest or name not in type(config).model_fields:
        return config
    inner = getattr(config, name)
    if inner is None:
        kinds = get_args(type(config).model_fields[name].annotation)
        group = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Config)), None)
        if group is None or any(field.is_required() for field in group.model_fields.values()):
            return config  # tyro tells that there is no such setting
        inner = group.model_construct()  # checked with what the options say of it
    return config.model_copy(update={name: _with_group(inner, rest)}) if isinstance(inner, Config) else config


def _with_components(config: Config, arguments: Sequence[str]) -> Config:
    """The settings with every component exchanged that `--....name NAME` asks for.

    A new component keeps the preset's values of the settings that both have.

    Raises:
        ConfigError: there is no component of that name.
    """
    for place, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        words = flag.removeprefix("--").replace("-", "_").split(".")
        if not flag.startswith("--") or words[-1] != "name":
            continue
        if not equals:
            value = arguments[place + 1] if place + 1 < len(arguments) else ""
        config = _with_component(config, words[:-1], value)
    return config


def _with_component(config: Any, path: list[str], name: str) -> Any:
    if path:
        inner = getattr(config, path[0], None)
        if not isinstance(inner, Config):
            return config  # tyro tells that there is no such setting
        return config.model_copy(update={path[0]: _with_component(inner, path[1:], name)})
    if not isinstance(config, ComponentConfig) or config.name == name:
        return config
    chosen = catalog.lookup(config.kind, name).Config
    shared = (chosen.model_fields.keys() & type(config).model_fields.keys()) - {"name"}
    return chosen(**{field: getattr(config, field) for field in shared})


def _preset_name(prog: str, options: type, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The first word that is no option, and the rest."""
    presets = catalog.names("preset")
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in presets:
            raise ConfigError(f"There is no preset {arguments[0]!r}. {did_you_mean(arguments[0], presets)}")
        return arguments[0], list(arguments[1:])
    if arguments and arguments[0] in ("-h", "--help"):
        about = f"{options.__doc__} Presets: {', '.join(presets)}. `{prog} PRESET --help` lists its settings too."
        _parse(options, f"{prog} PRESET", ["--help"], about)
    raise ConfigError(f"Give a preset first: {prog} PRESET ... Known: {', '.join(presets)}.")

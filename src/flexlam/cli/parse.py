"""From words on the command line to settings: a verb's own options, and overrides of a preset."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

from flexlam.core import catalog
from flexlam.core.config import Config
from flexlam.core.errors import ConfigError, did_you_mean
from flexlam.core.progress import set_quiet

Options = TypeVar("Options")


def parse_options(options: type[Options], prog: str, arguments: Sequence[str]) -> Options:
    """A verb without a preset: its dataclass of options, filled in."""
    parsed = tyro.cli(options, prog=prog, args=list(arguments))
    set_quiet(getattr(parsed, "quiet", False))
    return parsed


def parse_with_preset(options: type[Options], part: str, prog: str, arguments: Sequence[str]) -> tuple[Options, Any]:
    """A verb with a preset: the verb's options, and the part of the preset that it uses with all overrides applied.

    Raises:
        ConfigError: no preset, or an unknown one.
    """
    name, rest = _preset_name(prog, options, arguments)
    from flexlam.presets.base import load_preset

    default: Config = getattr(load_preset(name), part)
    fields = [
        ("options", Annotated[options, tyro.conf.arg(name="")], dataclasses.field()),
        ("settings", Annotated[type(default), tyro.conf.arg(name="")], dataclasses.field(default=default)),
    ]
    both = dataclasses.make_dataclass("Arguments", fields)
    parsed: Any = tyro.cli(
        both,
        prog=f"{prog} {name}",
        description=f"{options.__doc__} Settings start from the preset {name}.",
        args=rest,
        config=(tyro.conf.AvoidSubcommands,),
    )
    set_quiet(getattr(parsed.options, "quiet", False))
    # Validated once more: overrides were checked field by field, rules between fields were not.
    return parsed.options, type(default).parse(parsed.settings.model_dump(), where="the command line")


def _preset_name(prog: str, options: type, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The first word that is no option, and the rest."""
    presets = catalog.names("preset")
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in presets:
            raise ConfigError(f"There is no preset {arguments[0]!r}. {did_you_mean(arguments[0], presets)}")
        return arguments[0], list(arguments[1:])
    if arguments and arguments[0] in ("-h", "--help"):
        about = f"{options.__doc__} Presets: {', '.join(presets)}. `{prog} PRESET --help` lists its settings too."
        tyro.cli(options, prog=f"{prog} PRESET", description=about, args=["--help"])
    raise ConfigError(f"Give a preset first: {prog} PRESET ... Known: {', '.join(presets)}.")

"""flexlam export model RUN --out OUT [--push-to OWNER/NAME]."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from flexlam.cli.options import Output
from flexlam.cli.parse import parse_with_settings
from flexlam.core.errors import ConfigError

_WANTED = ("license", "intended_use", "data", "data_license", "consent", "bias")


@dataclass(frozen=True, kw_only=True)
class ExportModel(Output):
    """A folder to share: the model, what belongs to it, and a card with what was measured. Or the same on the Hub."""

    run: tyro.conf.Positional[Path]
    """A run of stage 1 (or of joint alignment), or a released model."""
    translator: Path | None = None
    """A translator of the run's codes."""
    policy: Path | None = None
    """A policy that predicts the run's codes."""
    results: tuple[Path, ...] = ()
    """What `flexlam eval ... --json` wrote about this model; its tables stand on the card."""
    push_to: str | None = None
    """OWNER/NAME: upload the folder to the Hugging Face Hub, too (hf auth login)."""
    private: bool = False
    """Make the Hub's repository private, if there is none yet."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Write the folder, and upload it if told to."""
    from flexlam.report.card import CardConfig

    about = f"{ExportModel.__doc__} What only you know of the data goes onto the card, too."
    options, card = parse_with_settings(ExportModel, CardConfig(), prog, arguments, about)
    from flexlam.core.hub import is_hub_name
    from flexlam.study.sharing import export_model

    if options.push_to is not None and not is_hub_name(options.push_to):
        raise ConfigError(f"--push-to {options.push_to} can be no repository on the Hub; give OWNER/NAME.")
    names = ("run", "out", "translator", "policy", "results", "push_to", "private", "overwrite")
    address = export_model(card, **{name: getattr(options, name) for name in names})
    print(f"Model: {options.out}")
    missing = [f"--{name.replace('_', '-')}" for name in _WANTED if not getattr(card, name)]
    if missing:
        print(f"Its card says that these are not stated: {', '.join(missing)}.")
    if address:
        print(f"Uploaded: {address}")

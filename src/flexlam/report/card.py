"""A model card (Mitchell et al. 2019): what the model is, what was measured, what its publisher says of the data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexlam.core.config import Config
from flexlam.core.errors import ConfigError
from flexlam.report.returns import latency_table, returns_table
from flexlam.report.table import Table, measurement_table, results_table

_NOT_STATED = "Not stated by the publisher."
_LIMITS = (
    "Decoded frames are generated: they show what the model expects, and are no evidence of anything that happened. "
    "Codes tell what changed between two frames, whoever or whatever changed it: a moving background can take the "
    "place of the action."
)
_TABLES = {
    "alignment": (measurement_table, "Actions from codes"),
    "reconstruction": (measurement_table, "Decoded frames"),
    "returns": (returns_table, "Acting"),
    "latency": (latency_table, "Milliseconds of a decision"),
    "demo": (results_table, "Codes, frames and actions"),
}


class CardConfig(Config):
    """What only the publisher knows. What is left empty is named as not stated."""

    title: str = "A latent action model"
    """Heading of the card."""
    license: str = ""
    """Licence of the weights as the Hub abbreviates it: apache-2.0, cc-by-4.0, ..."""
    intended_use: str = ""
    """What the model is for, and what it is not for."""
    data: str = ""
    """The training video: what, from where, how much."""
    data_license: str = ""
    """Licence or terms of the training video."""
    consent: str = ""
    """Whether people are to be seen or heard, and whether they agreed to this use."""
    bias: str = ""
    """What the video shows too much or too little of: places, people, tasks, cameras."""


@dataclass(frozen=True)
class ModelFacts:
    """What the model's own files say of it."""

    hash: str
    num_parameters: int
    num_slots: int
    bits_per_slot: float
    frame_shape: tuple[int, int, int]
    gap: str
    """Time or steps between the two frames, in words."""
    data_hash: str
    parts: tuple[str, ...] = ()
    """What lies beside the model: translator, policy."""
    verdict: str = ""
    """What was found of its codes at the end of training."""


def model_card(config: CardConfig, facts: ModelFacts, place: str, results: Sequence[dict[str, Any]] = ()) -> str:
    """The card as Markdown with the Hub's header; `place` is what `from_pretrained` is to be given.

    `results` are what `flexlam eval ... --json` wrote of this very model.

    Raises:
        ConfigError: results of another model, or of a kind that is not known.
    """
    header = ["---", "library_name: flexlam", *([f"license: {json.dumps(config.license)}"] if config.license else [])]
    header += ["tags:", "- latent-action-model", "- video", "---"]
    sections = [
        "\n".join(header) + f"\n# {config.title}",
        _about(facts),
        f'```python\nfrom flexlam import LatentActionModel\n\nmodel = LatentActionModel.from_pretrained("{place}")\n'
        "codes = model.encode(obs, next_obs)  # frames (..., H, W, C) uint8; any prefix is a latent action\n```",
        f"## Intended use\n{config.intended_use or _NOT_STATED}",
        "## Measured\n" + (_measured(facts, results) if results else "Nothing was measured."),
        _data(config, facts),
        f"## Limits\n{_LIMITS}" + (f"\n\nCodes at the end of training: {facts.verdict}" if facts.verdict else ""),
    ]
    return "\n\n".join(sections) + "\n"


def _about(facts: ModelFacts) -> str:
    height, width, channels = facts.frame_shape
    beside = f" Beside it lie: {', '.join(facts.parts)}." if facts.parts else ""
    return (
        f"A variable-length latent action model ([FlexLAM](https://arxiv.org/abs/2606.19408)), trained with flexlam: "
        f"K = {facts.num_slots} ordered codes of {facts.bits_per_slot:.1f} bits for a transition between two frames of "
        f"{height} x {width} x {channels}, {facts.gap} apart; {facts.num_parameters:,} parameters. Model hash "
        f"{facts.hash}.{beside}"
    )


def _measured(facts: ModelFacts, results: Sequence[dict[str, Any]]) -> str:
    parts = []
    for result in results:
        kind = str(result.get("kind"))
        if kind not in _TABLES:
            raise ConfigError(f"A card shows no results of kind {kind!r}; known: {', '.join(_TABLES)}.")
        measured = (result.get("parent_hashes") or {}).get("lam")
        if measured != facts.hash:
            raise ConfigError(
                f"These results ({kind}) were measured on the model {measured}; this is {facts.hash}. Measure this one."
            )
        make, title = _TABLES[kind]
        table: Table = make(result)
        other = "" if result.get("data_hash") == facts.data_hash else " Not the data that the model was trained on."
        parts.append(f"### {title}\n{_source(result)}{other}\n\n{table.to_markdown()}")
    return "\n\n".join(parts)


def _source(result: dict[str, Any]) -> str:
    """The command that measured, when, where, on which data."""
    machine, command = result.get("machine", {}), result.get("command", "")
    facts = [
        f"{result['num_labels']} labels" if result.get("num_labels") else "",
        f"`{command if isinstance(command, str) else ' '.join(command)}`",
        str(result.get("created", ""))[:10],
        str(machine.get("accelerator") or machine.get("processor") or ""),
        f"{machine['cores']} cores" if machine.get("cores") else "",
        f"data {result.get('data_hash')}",
    ]
    return ", ".join(fact for fact in facts if fact) + "."


def _data(config: CardConfig, facts: ModelFacts) -> str:
    rows = {
        "what": config.data,
        "licence or terms": config.data_license,
        "people, consent": config.consent,
        "bias": config.bias,
        "content hash": facts.data_hash,
    }
    lines = [f"| {name} | {(value or _NOT_STATED).replace('|', chr(92) + '|')} |" for name, value in rows.items()]
    return "## Training data\n| | |\n| --- | --- |\n" + "\n".join(lines)

"""A model as a folder to share: the bundle as it is, what belongs to it, and a card."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from flexlam.core.checkpoint import bundle_of, copy_bundle, read_bundle
from flexlam.core.files import atomic_folder, check_output_folder
from flexlam.lam.model import LatentActionModel
from flexlam.policy.model import load_policy
from flexlam.training.runs import LamRun, open_lam
from flexlam.translator.model import load_translator, require_policy, translator_bundle


@dataclass(frozen=True)
class Shared:
    """What a card is written about."""

    run: LamRun
    model: LatentActionModel
    parts: tuple[str, ...]


def share_model(
    run: Path,
    out: Path,
    card: Callable[[Shared], str],
    translator: Path | None = None,
    policy: Path | None = None,
    overwrite: bool = False,
) -> Shared:
    """Write OUT: the model, OUT/translator and OUT/policy where they are given, and OUT/README.md.

    Bundles are copied byte for byte, so that their hashes stay and they still know each other.

    Raises:
        CheckpointError: a run is unfinished or damaged, belongs to another model, or the translator to another policy.
        OutputError: OUT holds something, or cannot be written.
    """
    check_output_folder(out, overwrite)
    opened, model = open_lam(run, torch.device("cpu"))
    parts: dict[str, Path] = {}
    speaking = None if translator is None else load_translator(translator, model.hash)
    if translator is not None:
        parts["translator"] = translator_bundle(translator)
    if policy is not None:
        deciding = load_policy(policy, model.hash)
        if speaking is not None:
            require_policy(speaking, deciding.hash)
        parts["policy"] = bundle_of(policy)
    shared = Shared(opened, model, tuple(parts))
    with atomic_folder(out) as folder:
        copy_bundle(bundle_of(run), folder, {"README.md": card(shared)})
        for name, bundle in parts.items():
            copy_bundle(bundle, folder / name)
        read_bundle(folder, LatentActionModel.kind)  # what was copied is what was checked
    return shared

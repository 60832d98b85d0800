"""Models on disk: safetensors and JSON, a manifest of hashes written last, never pickle.

A bundle is a folder:
    bundle.json        format version, kind, configuration, anything else that is not a tensor
    NAME.safetensors   tensors
    manifest.json      the hashes of those; a folder without it is not a bundle
Texts that lie there, too, a card say, are no part of it and may change.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from flexlam import __version__
from flexlam.core.errors import CheckpointError
from flexlam.core.files import atomic_folder, content_hash, file_hash

FORMAT_VERSION = 1
SUPPORTED_VERSIONS = (1,)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle in memory."""

    hash: str
    """Content hash of the whole bundle; children record it as their parent's."""
    config: Any
    """Plain values, to be parsed by the class that the kind stands for."""
    state: dict[str, Any]
    """Everything else in bundle.json."""
    tensors: dict[str, dict[str, Tensor]]
    """File stem -> name -> tensor."""


def write_bundle(
    path: Path,
    kind: str,
    config: Any,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """Write a bundle in one step and return its hash; `files` are texts to keep beside it (a card, say).

    Raises:
        OutputError: the disk is full or the place cannot be written.
    """
    header = {
        "format": "flexlam",
        "format_version": FORMAT_VERSION,
        "flexlam_version": __version__,
        "kind": kind,
        "config": config,
        "state": dict(state or {}),
    }
    with atomic_folder(path) as folder:
        for stem, group in tensors.items():
            plain = {name: tensor.detach().cpu().contiguous() for name, tensor in group.items()}
            # Not save_file: it reports a full disk as an error of its own instead of an OSError.
            (folder / f"{stem}.safetensors").write_bytes(safetensors.torch.save(plain))
        (folder / "bundle.json").write_text(json.dumps(header, indent=2) + "\n")
        hashes = {file.name: file_hash(file) for file in sorted(folder.iterdir())}
        (folder / "manifest.json").write_text(json.dumps(hashes, indent=2) + "\n")
        _write_texts(folder, files)
    return _bundle_hash(hashes)


def read_bundle(path: Path, kind: str) -> Bundle:
    """Read and check a bundle.

    Raises:
        CheckpointError: missing, truncated, damaged, of another kind or of an unknown format version.
    """
    hashes = checked_hashes(path)
    header = _read_json(path, "bundle.json")
    if header["kind"] != kind:
        raise CheckpointError(f"{path} holds a {header['kind']}; expected a {kind}. Check the path.")
    tensors = {Path(name).stem: _read_tensors(path / name) for name in hashes if name.endswith(".safetensors")}
    return Bundle(_bundle_hash(hashes), header["config"], header["state"], tensors)


def read_kind(path: Path) -> str:
    """What a bundle says it holds; nothing else of it is looked at.

    Raises:
        CheckpointError: missing, unfinished or damaged.
    """
    header = _read_json(path, "bundle.json")
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise CheckpointError(f"{path / 'bundle.json'} is damaged. Copy the folder again, or train again.")
    kind: str = header["kind"]
    return kind


def checked_hashes(path: Path) -> dict[str, str]:
    """The hash of every file of a bundle, after all of them have been compared.

    Raises:
        CheckpointError: missing, truncated, damaged or of an unknown format version.
    """
    hashes = _read_json(path, "manifest.json")
    header = _read_json(path, "bundle.json")
    version = header.get("format_version") if isinstance(header, dict) else None
    if version not in SUPPORTED_VERSIONS:
        supported = ", ".join(map(str, SUPPORTED_VERSIONS))
        raise CheckpointError(
            f"{path} has checkpoint format version {version}; this flexlam ({__version__}) reads {supported}. "
            "Install the version of flexlam that wrote it."
        )
    # Hashes before anything else is read: a damaged header may miss any key.
    if not isinstance(hashes, dict) or "bundle.json" not in hashes:
        raise CheckpointError(f"{path / 'manifest.json'} is damaged. Copy the folder again, or train again.")
    for name, expected in hashes.items():
        if not (path / name).is_file() or file_hash(path / name) != expected:
            raise CheckpointError(
                f"{path / name} is missing, truncated or damaged (its hash does not match manifest.json). "
                "Copy the folder again, or train again."
            )
    return hashes


def bundle_of(path: Path) -> Path:
    """The folder with the finished model of a run, or of a released model."""
    return path / "model" if (path / "run.json").exists() else path


def copy_bundle(path: Path, folder: Path, files: Mapping[str, str] | None = None) -> None:
    """Copy a bundle without its texts into a folder, and others with it; its hash stays what it is.

    Raises:
        CheckpointError: missing or damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*checked_hashes(path), "manifest.json"):
        shutil.copyfile(path / name, folder / name)
    _write_texts(folder, files)


def _write_texts(folder: Path, files: Mapping[str, str] | None) -> None:
    """Beside the manifest, not in it: a card may be edited later."""
    for name, text in (files or {}).items():
        (folder / name).write_text(text)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a module, all of them and no others; lower-precision weights are widened.

    Raises:
        CheckpointError: names or shapes do not match.
    """
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit its own configuration: {error}") from error


def _bundle_hash(hashes: Mapping[str, str]) -> str:
    return content_hash(json.dumps(dict(hashes), sort_keys=True).encode())


def _read_json(path: Path, name: str) -> Any:
    if not path.is_dir():
        raise CheckpointError(f"There is no checkpoint folder {path}.")
    try:
        return json.loads((path / name).read_text())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is not a whole checkpoint: {name} is missing. Give the folder that holds manifest.json."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path / name} is damaged: {error}. Copy the folder again, or train again.") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}.") from error

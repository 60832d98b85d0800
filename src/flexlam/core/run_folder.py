"""The folder of one run: its settings, its environment, its metrics, its checkpoints, its result.

run.json           what kind of run, the complete settings, the hashes of its parents
environment.json   machine, versions, git revision
metrics.jsonl      one line a logged step
checkpoint/STEP/   bundles to resume from; the newest whole one counts
model/             the finished model, a bundle
health.json        the last look at the codes (latent action models)
results.json       figures, when something was measured
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from flexlam.core.errors import CheckpointError, OutputError
from flexlam.core.files import explain_write_errors, new_output_folder, try_lock, write_text
from flexlam.core.machine import describe_environment

_LOCK = ".lock"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self.header = header

    @classmethod
    def create(
        cls, path: Path, kind: str, config: dict[str, Any], parents: dict[str, str], overwrite: bool = False
    ) -> Self:
        """Start a run in a new folder.

        Raises:
            OutputError: the folder is in use or cannot be written.
        """
        run = cls.plan(path, kind, config, parents)
        run.start(overwrite)
        return run

    @classmethod
    def plan(cls, path: Path, kind: str, config: dict[str, Any], parents: dict[str, str]) -> Self:
        """A run that is not on disk yet: `start` it once everything that it needs has been checked."""
        return cls(path, {"kind": kind, "config": config, "parents": parents})

    def start(self, overwrite: bool = False) -> None:
        """Put a planned run on disk.

        Raises:
            OutputError: the folder is in use or cannot be written.
        """
        if (self.path / _LOCK).exists():
            with self.claimed():
                pass
        new_output_folder(self.path, overwrite)
        write_text(self.path / "environment.json", json.dumps(describe_environment(), indent=2) + "\n")
        write_text(self.path / "run.json", json.dumps(self.header, indent=2) + "\n")

    @classmethod
    def open(cls, path: Path, kind: str | tuple[str, ...]) -> Self:
        """Open an existing run of a kind, or of one of several.

        Raises:
            CheckpointError: there is no such run, or it is of another kind.
        """
        try:
            header = json.loads((path / "run.json").read_text())
            found = header["kind"]
            if not isinstance(header["config"], dict) or not isinstance(header["parents"], dict):
                raise TypeError("config and parents are no objects")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} is not a run folder (no readable run.json). Check the path.") from error
        kinds = (kind,) if isinstance(kind, str) else kind
        if found not in kinds:
            raise CheckpointError(f"{path} is a {found} run; expected a {' or '.join(kinds)} run.")
        return cls(path, header)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from writing the same run.

        Raises:
            OutputError: one is writing it now.
        """
        with explain_write_errors(self.path), try_lock(self.path / _LOCK) as mine:
            if not mine:
                raise OutputError(
                    f"Another process is writing the run {self.path}. Wait for it, or choose another --out folder."
                )
            yield

    @property
    def model(self) -> Path:
        """Where the finished model lies."""
        return self.path / "model"

    @property
    def finished(self) -> bool:
        """Whether the finished model lies there."""
        return (self.model / "manifest.json").exists()

    def log(self, step: int, **values: float | str) -> None:
        """Append one line to metrics.jsonl.

        Raises:
            OutputError: the disk is full.
        """
        line = json.dumps({"step": step, **values}) + "\n"
        with (
            explain_write_errors(self.path / "metrics.jsonl"),
            (self.path / "metrics.jsonl").open("a") as file,
        ):
            file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """Every whole line of metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [row for row in map(_parse, lines) if row is not None]

    def rewind(self, step: int) -> None:
        """Forget metrics logged after a step, so that a resumed run logs each step once."""
        kept = [json.dumps(row) for row in self.metrics() if row["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(line + "\n" for line in kept))

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.path / "checkpoint" / f"{step:08d}"

    def checkpoints(self) -> list[int]:
        """Steps with a whole checkpoint, oldest first."""
        folders = sorted((self.path / "checkpoint").glob("[0-9]*"))
        return [int(folder.name) for folder in folders if (folder / "manifest.json").exists()]

    def forget_checkpoints_before(self, step: int) -> None:
        """Remove older checkpoints once a newer one is whole."""
        for old in self.checkpoints():
            if old < step:
                shutil.rmtree(self.checkpoint_path(old))

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write a further JSON file of the run, atomically."""
        write_text(self.path / name, json.dumps(values, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a further JSON file of the run.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        try:
            values: dict[str, Any] = json.loads((self.path / name).read_text())
            return values
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path / name} cannot be read: {error}. The run is not finished.") from error


def open_or_plan(path: Path, kind: str, config: dict[str, Any], parents: dict[str, str], resume: bool) -> RunFolder:
    """The run to continue, which must have these settings and parents, or a planned one.

    Raises:
        CheckpointError: there is no such run to continue.
        OutputError: settings or parents differ from those that it was started with.
    """
    if not resume:
        return RunFolder.plan(path, kind, config, parents)
    run = RunFolder.open(path, kind)
    refuse_changed_settings(run, config, parents)
    return run


def refuse_changed_settings(run: RunFolder, config: dict[str, Any], parents: dict[str, str]) -> None:
    """A resumed run continues with its own settings and data only.

    Raises:
        OutputError: settings or parents differ from those that the run was started with.
    """
    changed = sorted(_differences(run.header["config"], config)) + sorted(_differences(run.header["parents"], parents))
    if changed:
        raise OutputError(
            f"{run.path} was started with other settings or data ({', '.join(changed)}). "
            "Resume it with the same ones, or start anew with --overwrite."
        )


def _differences(old: Any, new: Any, where: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [path for key in keys for path in _differences(old.get(key), new.get(key), f"{where}.{key}".lstrip("."))]
    return [] if old == new else [where]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(line)
        return values
    except json.JSONDecodeError:
        return None  # the last line of a run that was killed while writing it

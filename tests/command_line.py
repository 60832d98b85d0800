"""A small world on disk, made by the commands themselves: dataset, frame stores, runs."""

import contextlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from flexlam.cli import main
from flexlam.core.action import ActionSpec
from flexlam.data.lerobot_writer import LeRobotWriter
from moving_square import FPS, moving_square

SPEC = ActionSpec(num_choices=(18,))
LAM_SETTINGS = ("--training.num-steps", 6, "--training.evaluate-every", 3, "--training.checkpoint-every", 3)


@dataclass(frozen=True)
class Said:
    """What a command did."""

    code: int
    out: str
    err: str


def run_command(*arguments: object) -> Said:
    """A command in this process; an exit of the argument parser counts as its code."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class World:
    """Where everything lies, and what each command said when it was made."""

    folder: Path
    said: dict[str, Said] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Path:
        return self.folder / name

    def make(self, name: str, *arguments: object) -> None:
        self.said[name] = run_command(*arguments, "--out", self.folder / name)
        assert self.said[name].code == 0, self.said[name].err

    def snapshot(self) -> dict[Path, tuple[int, int] | None]:
        """Every folder, and every file with its size and time."""
        files = self.folder.rglob("*")
        return {f: (f.stat().st_size, f.stat().st_mtime_ns) if f.is_file() else None for f in files}


def write_dataset(
    path: Path, num_episodes: int = 12, length: int = 20, spec: ActionSpec | None = SPEC, size: int = 64
) -> None:
    with LeRobotWriter(path, FPS, (size, size, 3), spec) as writer:
        for number in range(num_episodes):
            episode = moving_square(length, number, spec, size=size, task="ab"[number % 2])
            writer.write_episode(episode.task, episode.frames, episode.columns)

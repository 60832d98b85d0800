"""Codes as parquet: one row a transition."""

import json
import shutil
from pathlib import Path

from flexlam.core.files import write_text
from flexlam.export.encoding import ENCODING, Encoding


class ParquetCodes:
    """codes-000000.parquet ...: episode, episode_name, step, next_step, codes; _encoding.json says what they are."""

    @staticmethod
    def check(encoding: Encoding) -> None:
        """Any data will do."""

    @staticmethod
    def write(encoding: Encoding, files: list[Path], out: Path) -> None:
        """Copy the shards."""
        for file in files:
            shutil.copy(file, out / file.name)
        write_text(out / ENCODING, json.dumps(encoding.about, indent=2) + "\n")

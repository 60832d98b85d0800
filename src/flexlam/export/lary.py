"""Codes as LARYBench's extractor writes them: latent_action_00000000.npz with `tokens` and `indices`, and a list."""

import csv
import json
from pathlib import Path

import numpy as np
import torch

from flexlam.core.files import write_text
from flexlam.export.encoding import ENCODING, Encoding, codes_of, read_shard


class LaryCodes:
    """One npz an episode: `tokens` (P, k, D) float32 latents and `indices` (P, k) of its P transitions.

    metadata.csv has a row for each: la_path, video_path (the episode's name in the dataset), task, num_transitions.
    """

    @staticmethod
    def check(encoding: Encoding) -> None:
        """Any data will do."""

    @staticmethod
    def write(encoding: Encoding, files: list[Path], out: Path) -> None:
        """Write an npz for each episode that has transitions."""
        tasks = {episode.index: episode.task for episode in encoding.reader.episodes()}
        with (out / "metadata.csv").open("w", newline="") as listing:
            rows = csv.writer(listing)
            rows.writerow(("la_path", "video_path", "task", "num_transitions"))
            for file in files:
                table, _ = read_shard(file)
                episode, codes = table["episode"].to_numpy(), codes_of(table)
                names = table["episode_name"].to_pylist()
                for index in np.unique(episode):
                    mine = np.flatnonzero(episode == index)
                    indices = codes[mine]
                    tokens = encoding.latents(torch.from_numpy(indices.astype(np.int64))).numpy()
                    name = f"latent_action_{index:08d}.npz"
                    np.savez_compressed(out / name, tokens=tokens, indices=indices)
                    rows.writerow((name, names[mine[0]], tasks[int(index)], len(mine)))
        write_text(out / ENCODING, json.dumps(encoding.about, indent=2) + "\n")

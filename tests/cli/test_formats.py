"""A dataset of every format from `data info` to codes, by command; and a thousand damaged files."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from command_line import LAM_SETTINGS
from command_line import run_command as run
from dataset_formats import FORMATS, write_lossless
from flexlam.data.store import FrameStore
from moving_square import moving_square


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_goes_all_the_way(name: str, tmp_path: Path) -> None:
    made = FORMATS[name][1](tmp_path / "data")
    about = json.loads(run("data", "info", made.path, "--json").out)
    assert about["format"] == FORMATS[name][0] and about["num_episodes"] == len(made.episodes)
    checked = run("data", "check", made.path, "--json", "--quiet")
    assert checked.code == 0 and not [row for row in json.loads(checked.out)["rows"] if row["severity"] == "error"]
    store, lam = tmp_path / "store", tmp_path / "lam"
    converted = run("data", "convert", made.path, "--out", store, "--frame-size", 16, 16, "--num-workers", 2, "--quiet")
    assert converted.code == 0, converted.err
    assert FrameStore.open(store).num_frames == sum(len(episode.frames) for episode in made.episodes)
    settings = (*LAM_SETTINGS, "--training.num-steps", 20, "--pairs.split", 0.34, 0.33, 0.33)
    trained = run("train", "lam", "vizdoom-tiny", "--data", store, "--out", lam, *settings, "--quiet")
    assert trained.code == 0, trained.err
    assert run("encode", lam, "--data", made.path, "--out", tmp_path / "codes", "--quiet").code == 0
    assert len(pq.read_table(tmp_path / "codes")) == sum(len(episode.frames) - 1 for episode in made.episodes)


def damaged(good: bytes, rng: random.Random, number: int) -> tuple[str, bytes]:
    """Name and content of the number-th damaged file."""
    kind = number % 7
    data = bytearray(good)
    if kind == 0:
        return "truncated.mp4", bytes(data[: rng.randrange(1, len(data) * 9 // 10)])
    if kind == 1:
        for _ in range(rng.randrange(1, 200)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return "flipped.mp4", bytes(data)
    if kind == 2:
        return "empty.mp4", b""
    if kind == 3:
        return "renamed.avi", bytes(data[rng.randrange(8, 400) :])
    if kind == 4:
        return "text.mp4", b"It was a dark and stormy night.\n" * rng.randrange(1, 400)
    if kind == 5:
        return "noise.webm", rng.randbytes(rng.randrange(1, 20_000))
    place = data.find(b"avc1") + 28  # absurd dimensions in the header
    data[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\x00\x01"))
    return "absurd.mp4", bytes(data)


def test_a_thousand_damaged_files_harm_nothing(tmp_path: Path) -> None:
    rng, folder = random.Random(0), tmp_path / "videos"
    for number in range(12):
        write_lossless(folder / f"good-{number:02d}.mp4", moving_square(12, number, size=32).frames)
    write_lossless(folder / "pixel.mp4", np.zeros((5, 2, 2, 3), np.uint8))
    clean = run("data", "convert", folder, "--out", tmp_path / "clean", "--frame-size", 16, 16, "--quiet")
    assert clean.code == 0
    good = (folder / "good-00.mp4").read_bytes()
    names = []
    for number in range(1000):
        kind, data = damaged(good, rng, number)
        names.append(f"bad-{number:04d}-{kind}")
        (folder / names[-1]).write_bytes(data)
    checked = run("data", "check", folder, "--json", "--quiet", "--decode-seconds", 20)
    rows = json.loads(checked.out)["rows"]
    out = tmp_path / "store"
    said = run("data", "convert", folder, "--out", out, "--frame-size", 16, 16, "--quiet", "--decode-seconds", 20)
    assert said.code == 0, said.err
    store = FrameStore.open(out)
    left_out = {line.split(": ")[1] for line in said.out.splitlines() if line.startswith("Left out: ")}
    # A flipped bit may be in a place that no decoder reads; whatever is kept was decoded whole.
    kept = set(store.episodes.names)
    assert left_out | kept >= {*names, *(f"good-{number:02d}.mp4" for number in range(12))} and not left_out & kept
    assert len(left_out) > 800 and not [name for name in left_out if name.startswith("good")]
    assert {name for name in left_out if name.split("-")[-1] in ("empty.mp4", "text.mp4", "noise.webm")} >= {
        name for name in names if name.split("-")[-1] in ("empty.mp4", "text.mp4", "noise.webm")
    }
    assert {row["episode"] for row in rows} >= left_out, "what check does not foresee"
    store.verify()

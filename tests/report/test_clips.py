import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flexlam.core.errors import ConfigError, DataError, OutputError
from flexlam.report.clips import RolloutClip, clips_html, code_colour, code_strip, encode_clip, save_clip


def _frames(data: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(data)) as animation:
        found = []
        for number in range(getattr(animation, "n_frames", 1)):
            animation.seek(number)
            found.append(np.asarray(animation.convert("RGB")).astype(float))
        return found


def test_every_frame_is_shown_enlarged(clip: RolloutClip) -> None:
    smooth = np.linspace(0, 60, 20)[:, None, None] + np.zeros((20, 32, 3))
    frames = np.stack([smooth + 15 * step for step in range(12)]).astype(np.uint8)
    shown = _frames(encode_clip(dataclasses.replace(clip, frames=frames)))
    assert len(shown) == 12
    assert shown[0].shape[1] == 6 * 32
    for number, picture in enumerate(shown):
        errors = np.abs(picture[:120:6, ::6] - frames.astype(float)).mean((1, 2, 3))
        assert errors.argmin() == number and errors[number] < 6


def test_no_more_frames_and_bytes_than_allowed(clip: RolloutClip) -> None:
    assert len(_frames(encode_clip(clip, max_frames=7))) == 7
    whole = len(encode_clip(clip))
    coarse = encode_clip(clip, max_bytes=whole - 1)
    assert len(coarse) < whole and len(_frames(coarse)) == 12
    short = encode_clip(clip, max_bytes=whole // 6)
    assert len(short) <= whole // 6 and len(_frames(short)) in (6, 3, 1)
    with pytest.raises(DataError, match=r"takes [\d,]+ bytes of the 100 "):
        encode_clip(clip, max_bytes=100)
    with pytest.raises(ConfigError, match="max_frames is 0"):
        encode_clip(clip, max_frames=0)


def test_the_strip_scrolls_and_the_newest_step_stands_apart() -> None:
    codes = np.arange(80).reshape(40, 2)
    strip = code_strip(codes, 35, 192)
    assert strip.shape == (2 * 7, 192, 3)
    assert tuple(strip[0, -1]) == code_colour(0, 70) and tuple(strip[-1, -1]) == code_colour(1, 71)
    runs = [0, *(1 + np.flatnonzero((np.diff(strip[0].astype(int), axis=0) != 0).any(-1))), 192]
    widths = np.diff(runs)
    assert len(widths) == 32 + 1  # the newest, a gap, 31 earlier ones
    assert set(widths[:31]) == {5} and widths[31] == 3 and widths[32] > 15
    assert tuple(strip[0, 0]) == code_colour(0, 2 * (35 - 31))
    first = code_strip(codes, 0, 192)
    assert (first[:, : 192 - widths[32]] == first[0, 0]).all() and tuple(first[0, -1]) == code_colour(0, 0)


def test_many_slots_fit() -> None:
    assert code_strip(np.zeros((3, 64), int), 2, 192).shape == (64, 192, 3)


def test_colours_are_stable_and_tell_codes_and_slots_apart() -> None:
    assert code_colour(0, 0) == (187, 71, 245)  # as in clips made before
    codes = [code_colour(slot, code) for slot in range(8) for code in range(100)]
    assert len(set(codes)) > 790
    steps = np.diff(np.array([code_colour(0, code) for code in range(100)], int), axis=0)
    assert np.abs(steps).sum(1).mean() > 100  # near codes look different


def test_the_name_of_the_action_changes_the_picture(clip: RolloutClip) -> None:
    other = dataclasses.replace(clip, actions=["back"] * 12)
    here, there = (_frames(encode_clip(c, max_frames=1))[0] for c in (clip, other))
    above, below = (np.abs(here[rows] - there[rows]).mean() for rows in (slice(0, -22), slice(-22, None)))
    assert above < 5 < 10 < below
    long = dataclasses.replace(clip, actions=["x" * 500] * 12)
    assert encode_clip(long, max_frames=1)


@pytest.mark.parametrize("codes", [None, np.zeros((12, 0), int)])
def test_no_codes_no_strip(clip: RolloutClip, codes: np.ndarray | None) -> None:
    without = dataclasses.replace(clip, codes=codes)
    heights = [_frames(encode_clip(c, max_frames=1))[0].shape[0] for c in (clip, without)]
    assert heights[0] - heights[1] == 4 * 7 + 3
    assert "codes" not in clips_html([without])


def test_clips_are_still_where_motion_is_unwanted(clip: RolloutClip) -> None:
    html = clips_html([clip, dataclasses.replace(clip, task="<i>", method="random")])
    assert html.count("(prefers-reduced-motion: reduce)") == html.count("<details") == 2
    assert "return 93.5 · 12 steps" in html and "<i>" not in html
    still = html.split('srcset="data:image/webp;base64,')[1].split('"')[0]
    assert len(still) < len(html) / 10
    assert 'alt="agent, k = 4 acting in basic, 12 steps, the predicted codes below the frame; return 93.5."' in html


def test_grey_frames_are_shown(clip: RolloutClip) -> None:
    assert encode_clip(dataclasses.replace(clip, frames=clip.frames[..., :1]), max_frames=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": np.zeros((12, 8, 8, 3), np.float32)}, "float32"),
        ({"frames": np.zeros((12, 8, 8), np.uint8)}, r"\(12, 8, 8\)"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8)}, r"\(0, 8, 8, 3\)"),
        ({"actions": ["a"]}, "1 actions for 12 frames"),
        ({"codes": np.zeros((11, 4), int)}, r"expected whole numbers \(12, k\)"),
        ({"codes": np.zeros((12, 4))}, "float64"),
        ({"frames_per_second": 0.0}, "0 frames per second"),
    ],
)
def test_what_cannot_be_shown_is_refused(clip: RolloutClip, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"A clip of 'basic' has .*{words}"):
        encode_clip(dataclasses.replace(clip, **change))


def test_a_clip_is_kept_as_a_file(clip: RolloutClip, tmp_path: Path) -> None:
    save_clip(tmp_path / "clips" / "a.webp", clip, max_frames=3)
    with Image.open(tmp_path / "clips" / "a.webp") as animation:
        assert (animation.format, animation.n_frames, animation.info["loop"]) == ("WEBP", 3, 0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        save_clip(tmp_path / "file" / "a.webp", clip, max_frames=1)

"""Rollouts as animations: the frames, under them the codes of the last steps as coloured cells and the action's name.

The cells of a code always have the same colour; the newest step stands apart at the right.
"""

import base64
import colorsys
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from flexlam.core.errors import ConfigError, DataError
from flexlam.core.files import write_bytes

MAX_FRAMES = 150
MAX_BYTES = 640_000  # of one animation; four of them leave a page below 4 MB
_WIDTH = 192  # pixels at least, for the action's name to be legible
_WINDOW = 32  # steps in the strip
_NEWEST = 4  # how many times as wide the newest step is, at least
_GAP = 3
_STRIP_HEIGHT, _MAX_CELL = 64, 7
_GROUND, _TEXT = (24, 27, 31), (231, 233, 234)
_TEXT_SIZE, _TEXT_HEIGHT, _MARGIN = 13, 22, 6
_QUALITIES = (60, 40, 20)


@dataclass(frozen=True)
class RolloutClip:
    """Part of an episode: frame t is what the agent saw when it predicted codes t and chose action t."""

    task: str
    method: str
    frames: np.ndarray
    """(T, H, W, C) uint8 with C = 1 or 3."""
    codes: np.ndarray | None
    """(T, k) whole numbers; None for whoever acts without codes."""
    actions: list[str]
    """T names."""
    episode_return: float | None
    """None of a recording that is only read."""
    frames_per_second: float = 8.75


def check_clip(clip: RolloutClip) -> None:
    """Refuse what cannot be shown.

    Raises:
        DataError: frames, codes or actions have another type, shape or number than expected.
    """
    where, shape, count = f"A clip of {clip.task!r}", clip.frames.shape, len(clip.frames)
    if len(shape) != 4 or not count or shape[-1] not in (1, 3) or clip.frames.dtype != np.uint8:
        raise DataError(f"{where} has frames {clip.frames.dtype} {shape}; expected uint8 (T, H, W, C) with C = 1 or 3.")
    if len(clip.actions) != count:
        raise DataError(f"{where} has {len(clip.actions)} actions for {count} frames; give one name for each frame.")
    codes = clip.codes
    if codes is not None and (codes.ndim != 2 or len(codes) != count or codes.dtype.kind not in "iu"):
        raise DataError(f"{where} has codes {codes.dtype} {codes.shape}; expected whole numbers ({count}, k).")
    if not 0 < clip.frames_per_second < float("inf"):
        raise DataError(f"{where} has {clip.frames_per_second:g} frames per second; expected more than 0.")


def encode_clip(clip: RolloutClip, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> bytes:
    """The first frames as an animated WebP that repeats; coarser, then shorter, until it holds `max_bytes`.

    Raises:
        DataError: the clip cannot be shown, or a single frame of it is larger than `max_bytes`.
        ConfigError: fewer than one frame was asked for.
    """
    check_clip(clip)
    if max_frames < 1:
        raise ConfigError(f"max_frames is {max_frames}; expected 1 at least.")
    count = min(max_frames, len(clip.frames))
    while True:
        pictures = [_picture(clip, step) for step in range(count)]
        for quality in _QUALITIES:
            data = _webp(pictures, clip.frames_per_second, quality)
            if len(data) <= max_bytes:
                return data
        if count == 1:
            raise DataError(
                f"One frame {clip.frames.shape[1:]} of the clip of {clip.task!r} takes {len(data):,} bytes of the "
                f"{max_bytes:,} that a clip may take. Give smaller frames."
            )
        count //= 2


def save_clip(path: Path, clip: RolloutClip, max_frames: int = MAX_FRAMES, max_bytes: int = MAX_BYTES) -> None:
    """Write the animation of `encode_clip` as a .webp file.

    Raises:
        DataError: the clip cannot be shown.
        OutputError: the disk is full or the place cannot be written.
    """
    write_bytes(path, encode_clip(clip, max_frames, max_bytes))


def clips_html(clips: Sequence[RolloutClip]) -> str:
    """Clips side by side. Closing one stops it; where motion is unwanted, and in print, they are still.

    Raises:
        DataError: a clip cannot be shown.
    """
    return f'<div class="clips">{"".join(map(_figure, clips))}</div>'


@functools.cache
def code_colour(slot: int, code: int) -> tuple[int, int, int]:
    """RGB of a code in a slot: always the same, and far apart for near codes."""
    mixed = (slot * 0x9E3779B1 + code * 0x85EBCA6B + 0x27D4EB2F) & 0xFFFFFFFF
    mixed = ((mixed ^ mixed >> 15) * 0x2C1B3C6D) & 0xFFFFFFFF
    mixed = ((mixed ^ mixed >> 12) * 0x297A2D39) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    hue, saturation, value = mixed % 256 / 256, 0.45 + (mixed >> 8) % 64 / 160, 0.6 + (mixed >> 16) % 64 / 160
    red, green, blue = (round(255 * share) for share in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def code_strip(codes: np.ndarray, step: int, width: int) -> np.ndarray:
    """Codes (T, k) of the steps up to `step` as a picture (height, width, 3) uint8, slot by slot downwards."""
    num_slots = codes.shape[1]
    cell = max(1, min(_MAX_CELL, _STRIP_HEIGHT // num_slots))
    column = (width - _GAP) // (_WINDOW - 1 + _NEWEST)
    newest = width - _GAP - (_WINDOW - 1) * column
    strip = np.empty((num_slots * cell, width, 3), np.uint8)
    strip[:] = _GROUND
    right = width
    for back in range(min(_WINDOW, step + 1)):
        span = newest if back == 0 else column
        colours = np.array([code_colour(slot, int(code)) for slot, code in enumerate(codes[step - back])], np.uint8)
        strip[:, right - span : right] = colours.repeat(cell, 0)[:, None]
        right -= span + (_GAP if back == 0 else 0)
    return strip


def _figure(clip: RolloutClip) -> str:
    data = encode_clip(clip)
    with Image.open(io.BytesIO(data)) as animation:
        shown, (width, height) = getattr(animation, "n_frames", 1), animation.size
    first = _webp([_picture(clip, min(_WINDOW, shown) - 1)], clip.frames_per_second, _QUALITIES[0])
    count = f"{shown} steps" if shown == len(clip.frames) else f"first {shown} of {len(clip.frames)} steps"
    strip = "" if clip.codes is None or not clip.codes.shape[1] else ", the predicted codes below the frame"
    earned = "" if clip.episode_return is None else f"return {clip.episode_return:.4g}"
    does = "recorded" if clip.episode_return is None else "acting"
    words = f"{clip.method} {does} in {clip.task}, {count}{strip}{f'; {earned}' if earned else ''}."
    return (
        f'<details class="clip" open><summary>{escape(clip.task)} · {escape(clip.method)}</summary><picture>'
        f'<source media="print, (prefers-reduced-motion: reduce)" srcset="{_uri(first)}">'
        f'<img src="{_uri(data)}" width="{width}" height="{height}" alt="{escape(words)}"></picture>'
        f"<small>{' · '.join(part for part in (earned, count) if part)}</small></details>"
    )


def _picture(clip: RolloutClip, step: int) -> Image.Image:
    """A frame enlarged by a whole factor, the code strip and the name of the action."""
    width, channels = clip.frames.shape[2:]
    scale = max(1, round(_WIDTH / width))
    frame = clip.frames[step].repeat(scale, 0).repeat(scale, 1).repeat(3 // channels, 2)
    rows = [frame]
    if clip.codes is not None and clip.codes.shape[1]:
        rows += [_blank(_GAP, scale * width), code_strip(clip.codes, step, scale * width)]
    top = sum(len(row) for row in rows)
    picture = Image.fromarray(np.concatenate([*rows, _blank(_TEXT_HEIGHT, scale * width)]))
    font = ImageFont.load_default(_TEXT_SIZE)
    words = clip.actions[step].replace("_", " ").replace("+", " + ")
    while words and font.getlength(words) > scale * width - 2 * _MARGIN:
        words = words[:-1]
    ImageDraw.Draw(picture).text((_MARGIN, top + _TEXT_HEIGHT // 2), words, _TEXT, font, anchor="lm")
    return picture


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), _GROUND, np.uint8)


def _webp(pictures: Sequence[Image.Image], frames_per_second: float, quality: int) -> bytes:
    file = io.BytesIO()
    first, *others = pictures
    duration = max(1, round(1000 / frames_per_second))
    first.save(file, "WEBP", save_all=True, append_images=others, duration=duration, loop=0, quality=quality, method=2)
    return file.getvalue()


def _uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"

"""Prefix sweeps as pictures: one transition, decoded from more and more of its code."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple, Protocol

import numpy as np

from flexlam.core.errors import DataError
from flexlam.data.png import encode_png
from flexlam.metrics.images import psnr


class Picture(NamedTuple):
    """A frame (H, W, C) uint8 of a strip."""

    label: str
    alt: str
    frame: np.ndarray
    apart: bool = False
    """Whether what follows is set apart."""


class Strip(Protocol):
    """A transition and frames that the decoder made for it; all frames are (H, W, C) uint8."""

    @property
    def task(self) -> str:
        """Where it is from."""

    @property
    def obs(self) -> np.ndarray:
        """The present frame."""

    @property
    def next_obs(self) -> np.ndarray:
        """The next frame."""

    def pictures(self) -> list[Picture]:
        """The decoded frames, from left to right."""


@dataclass(frozen=True)
class PrefixSweep:
    """One transition and what the decoder makes of its prefixes; frames are (H, W, C) uint8."""

    task: str
    obs: np.ndarray
    next_obs: np.ndarray
    decoded: dict[int, np.ndarray]
    """Prefix length k -> decoded next frame."""

    def pictures(self) -> list[Picture]:
        """One a prefix length."""
        return [Picture(f"k = {k}", f"decoded from {k} slots", frame) for k, frame in sorted(self.decoded.items())]


def check_sweep(sweep: Strip) -> None:
    """Refuse what cannot be pictured.

    Raises:
        DataError: a frame has another dtype or shape than expected, or nothing was decoded.
    """
    shape = sweep.obs.shape
    if len(shape) != 3 or shape[-1] not in (1, 3, 4):
        raise DataError(f"A sweep of {sweep.task!r} has frames {shape}; expected (H, W, C) with C = 1, 3 or 4.")
    pictures = sweep.pictures()
    if not pictures:
        raise DataError(f"A sweep of {sweep.task!r} holds no decoded frame; give at least one prefix length.")
    decoded = {picture.label: picture.frame for picture in pictures}
    for name, frame in {"obs": sweep.obs, "next_obs": sweep.next_obs, **decoded}.items():
        if frame.dtype != np.uint8 or frame.shape != shape:
            raise DataError(
                f"In a sweep of {sweep.task!r}, the frame {name} is {frame.dtype} {frame.shape}; "
                f"expected uint8 {shape}, as obs."
            )


def amplification(sweeps: Sequence[Strip]) -> int:
    """One factor for all differences (1, 2, 4 or 8), under which at most one pixel in a hundred saturates."""
    differences = [
        _difference(frame, sweep.next_obs)
        for sweep in sweeps
        for frame in (sweep.obs, *(picture.frame for picture in sweep.pictures()))
    ]
    if not differences:
        return 1
    high = max(1.0, float(np.percentile(np.concatenate([d.ravel() for d in differences]), 99)))
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or factor * high <= 255)


def sweeps_html(sweeps: Sequence[Strip], gain: int, name: str = "Prefix sweep") -> str:
    """Sweeps of one task after another, each task named once."""
    before = ("", *(sweep.task for sweep in sweeps))
    rows = [sweep_html(sweep, gain, sweep.task != task, name) for sweep, task in zip(sweeps, before, strict=False)]
    return "".join(rows)


def sweep_html(sweep: Strip, gain: int, titled: bool = True, name: str = "Prefix sweep") -> str:
    """A row of frames with the amplified differences to o_t+1 below them."""
    target = sweep.next_obs
    cells = [
        _cell("o<sub>t</sub>", "present frame", sweep.obs, target, gain, "present"),
        _cell("o<sub>t+1</sub>", "next frame", target, None, gain, "next"),
    ]
    cells += [
        _cell(label, alt, frame, target, gain, "decoded apart" if apart else "decoded")
        for label, alt, frame, apart in sweep.pictures()
    ]
    strip = f'<div class="strip" tabindex="0" role="group" aria-label="{name}">{"".join(cells)}</div>'
    title = f"<h3>{escape(sweep.task)}</h3>" if titled else ""
    return f'<section class="sweep">{title}{strip}</section>'


def _cell(label: str, alt: str, frame: np.ndarray, target: np.ndarray | None, gain: int, kind: str) -> str:
    if target is None:
        below, note = '<div class="blank"></div>', "target"
    else:
        difference = (gain * _difference(frame, target)).clip(0, 255).round().astype(np.uint8)
        below, note = _image(difference, f"difference to the next frame, {alt}"), _decibels(frame, target)
    return (
        f'<figure class="cell {kind}"><div class="label">{label}</div>{_image(frame, alt)}{below}'
        f"<figcaption>{note}</figcaption></figure>"
    )


def _difference(frame: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Absolute difference (H, W, 1), averaged over the colours."""
    difference: np.ndarray = np.abs(frame.astype(np.float32) - target).mean(axis=-1, keepdims=True)
    return difference


def _decibels(frame: np.ndarray, target: np.ndarray) -> str:
    value = float(psnr(frame[None], target[None])[0])
    return "equal" if math.isinf(value) else f"{value:.1f} dB"


def _image(frame: np.ndarray, alt: str) -> str:
    """Kept at its own size; the page enlarges it pixel by pixel (`image-rendering: pixelated`)."""
    height, width, _ = frame.shape
    data = base64.b64encode(encode_png(np.ascontiguousarray(frame))).decode()
    return f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">'

"""Decisions one after another: the trunk stays in the key-value cache, the newest frame and the draws are rolled back.

Between two moves of the window the cache is exact. When a window moves it is prefilled anew: kept keys would still
depend on what has left the window.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from flexlam.bottleneck.base import Quantizer
from flexlam.nn.causal import KeyValueCache, lay_out
from flexlam.nn.sampling import pick
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.context import window_start


@dataclass
class _Row:
    """One episode: where its window begins, and what the window holds."""

    start: int = 0
    step: int = -1
    length: int = 0
    """Tokens of the trunk in the cache."""
    base: int = 0
    """Slot behind the newest frame, where draws begin."""


class Decoding:
    """Contexts of B episodes, each at a step of its own, and `num_samples` draws of each decision side by side."""

    def __init__(self, model: SequenceModel, num_rows: int, num_samples: int = 1) -> None:
        self.model, self.num_samples = model, num_samples
        lay_out(model.transformer)
        lay_out(model.head)
        self._rows = [_Row() for _ in range(num_rows)]
        config, device = model.config, model.device
        # Behind the newest frame lie draws; behind the whole trunk of a row that waits, what `_append` leaves there.
        behind = max(model.num_slots, (model.num_slots - 1) * num_samples)
        capacity = model.max_trunk + model.num_patches + behind
        dtype = model.head.weight.dtype
        self._cache = KeyValueCache(config.transformer, num_rows, capacity, device, dtype)
        self._codes = torch.zeros(num_rows, config.context_frames, model.num_slots, dtype=torch.long, device=device)
        num_anchors = (config.context_frames - 1) // config.stride + 2
        shape = (num_rows, num_anchors, model.num_patches, config.transformer.dim)
        self._anchors = torch.zeros(shape, device=device, dtype=dtype)

    def reset(self, row: int) -> None:
        """An episode begins in a row."""
        self._rows[row] = _Row()

    def observe(
        self, images: Float[Tensor, "B C H W"], codes: Int[Tensor, "B K"], active: np.ndarray
    ) -> Float[Tensor, "B D"]:
        """Take in the newest frame and the codes of the transition to it (unread where an episode begins).

        Returns the hidden state that predicts the first code of the next transition; rows that are not active keep
        their state and return nothing of meaning.
        """
        frames = self.model.embed_images(images)
        fresh: dict[int, list[int]] = {}  # blocks in a window that is computed anew -> its rows
        appended = []
        for number in np.flatnonzero(active).tolist():
            row = self._rows[number]
            row.step += 1
            start = self._window(number, codes)
            if row.step == 0 or start != row.start:
                row.start = start
                fresh.setdefault(row.step - start, []).append(number)
            else:
                appended.append(number)
            if row.step % self.model.config.stride == 0:
                self._anchors[number, (row.step - row.start) // self.model.config.stride] = frames[number]
        hidden = self._append(frames, codes, appended)
        for num_blocks, numbers in fresh.items():
            self._prefill(hidden, frames, num_blocks, numbers)
        return hidden

    def enter(self, images: Float[Tensor, "B n_plus_1 C H W"], codes: Int[Tensor, "B n K"]) -> Float[Tensor, "B D"]:
        """Begin all rows in the middle of an episode: frames of a window from its anchor to the newest, and its codes.

        Returns what `observe` would, had it seen the steps one by one.
        """
        num_blocks, stride = codes.shape[1], self.model.config.stride
        for number, row in enumerate(self._rows):
            row.start, row.step = 0, num_blocks
            self._codes[number, :num_blocks] = codes[number]
        for place, step in enumerate(range(0, num_blocks + 1, stride)):
            self._anchors[:, place] = self.model.embed_images(images[:, step])
        frames = self.model.embed_images(images[:, -1])
        hidden = torch.empty_like(frames[:, -1])
        self._prefill(hidden, frames, num_blocks, list(range(len(self._rows))))
        return hidden

    def step(self, row: int) -> int:
        """Episode step of a row's newest frame; −1 before the first."""
        return self._rows[row].step

    def draw(
        self,
        hidden: Float[Tensor, "B D"],
        prefix_length: int,
        uniforms: Float[Tensor, "B S K"] | None,
        scores: list[Tensor] | None = None,
    ) -> Int[Tensor, "B S k"]:
        """The first k codes of the next transition, drawn S times by uniform numbers; without those, the best ones.

        The scores (B, S, C) of each slot, by which it was drawn, are appended to `scores`.
        """
        codes = torch.zeros(len(hidden), self.num_samples, prefix_length, dtype=torch.long, device=hidden.device)
        states = hidden[:, None].expand(-1, self.num_samples, -1)
        for slot in range(prefix_length):
            if slot > 0:
                states = self._extend(codes[..., slot - 1], slot - 1)
            of_slot = self.model.head(states).float()
            codes[..., slot] = of_slot.argmax(-1) if uniforms is None else pick(of_slot, uniforms[..., slot])
            if scores is not None:
                scores.append(of_slot)
        return codes

    def latents(
        self, drawn: Int[Tensor, "B S k"], quantizer: Quantizer
    ) -> tuple[Float[Tensor, "B S K D"], Int[Tensor, "B S k"]]:
        """Quantised coordinates of drawn codes (zero beyond k), and those codes."""
        missing = self.model.num_slots - drawn.shape[-1]
        return nn.functional.pad(quantizer.indices_to_latents(drawn), (0, 0, 0, missing)), drawn

    def _extend(self, codes: Int[Tensor, "B S"], slot: int) -> Float[Tensor, "B S D"]:
        """Take in the drawn codes of a slot (from 0), one for each of S draws; returns what predicts the next slot."""
        count = self.num_samples
        tokens = self.model.embed_codes(codes[..., None], slot)[:, :, 0]
        base = [row.base for row in self._rows]
        if len(set(base)) == 1:
            first = base[0] + slot * count
            num_seen = first + count
            slots: slice | Tensor = slice(first, num_seen)
            positions = torch.full((1, count), base[0] + slot, device=codes.device)
        else:
            bases = torch.tensor(base, device=codes.device)[:, None]
            slots = bases + slot * count + torch.arange(count, device=codes.device)
            num_seen = max(base) + (slot + 1) * count
            positions = bases + slot + torch.zeros_like(slots)
        mask = None if count == 1 and isinstance(slots, slice) else self._branches(base, slot, num_seen)
        return self.model.transformer(tokens, positions, mask, self._cache, slots, num_seen)

    def _window(self, number: int, codes: Tensor) -> int:
        """Note the newest codes of a row; returns where its window begins now."""
        row, config = self._rows[number], self.model.config
        if row.step == 0:
            return 0
        self._codes[number, row.step - 1 - row.start] = codes[number]
        start = window_start(row.step, config.context_frames, config.stride)
        if start != row.start:
            moved = start - row.start
            self._codes[number] = self._codes[number].roll(-moved, 0)
            self._anchors[number] = self._anchors[number].roll(-(moved // config.stride), 0)
        return start

    def _append(self, frames: Tensor, codes: Tensor, numbers: list[int]) -> Tensor:
        """Newest codes and frame behind the trunk of every row; what lies there of other rows is never seen."""
        model = self.model
        if not numbers:
            return frames[:, -1].clone()
        tokens = torch.cat([model.embed_codes(codes), frames], dim=1)
        count = tokens.shape[1]
        lengths = [row.length for row in self._rows]
        order = torch.arange(count, device=frames.device)
        if len(numbers) == len(self._rows) and len(set(lengths)) == 1:
            slots: slice | Tensor = slice(lengths[0], lengths[0] + count)
            positions = (lengths[0] + order)[None]
        else:
            slots = positions = torch.tensor(lengths, device=frames.device)[:, None] + order
        num_seen = max(lengths) + count
        mask = torch.arange(num_seen, device=frames.device) <= positions[..., None]
        hidden = model.transformer(tokens, positions, mask[:, None], self._cache, slots, num_seen, last_only=True)
        for number in numbers:
            row = self._rows[number]
            row.base = row.length + count
            row.length = row.base if row.step % model.config.stride == 0 else row.length + model.num_slots
        return hidden[:, -1].clone()

    def _prefill(self, hidden: Tensor, frames: Tensor, num_blocks: int, numbers: list[int]) -> None:
        """Compute the windows of some rows anew, all with the same number of blocks."""
        model = self.model
        rows = torch.tensor(numbers, device=frames.device)
        parts = []
        for block in range(num_blocks):
            if block % model.config.stride == 0:
                parts.append(self._anchors[rows, block // model.config.stride])
            parts.append(model.embed_codes(self._codes[rows, block]))
        tokens = torch.cat([*parts, frames[rows]], dim=1)
        count = tokens.shape[1]
        positions = torch.arange(count, device=frames.device)[None]
        config = model.config.transformer
        cache = KeyValueCache(config, len(numbers), count, model.device, self._cache.keys.dtype)
        slots = slice(0, count)
        out = model.transformer(tokens, positions, None, cache, slots, count, causal=True, last_only=True)
        self._cache.copy_rows(rows, cache)
        hidden[rows] = out[:, -1]
        for number in numbers:
            row = self._rows[number]
            row.base = count
            row.length = count if row.step % model.config.stride == 0 else count - model.num_patches

    def _branches(self, base: list[int], slot: int, num_seen: int) -> Tensor:
        """(B, 1, S, num_seen): each draw sees everything before the draws, and its own codes."""
        bases = torch.tensor(base[:1] if len(set(base)) == 1 else base, device=self.model.device)
        behind = torch.arange(num_seen, device=self.model.device) - bases[:, None]  # (B, num_seen)
        draw = torch.arange(self.num_samples, device=self.model.device)
        own = (behind[:, None] % self.num_samples == draw[:, None]) & (behind[:, None] < (slot + 1) * self.num_samples)
        return ((behind[:, None] < 0) | own)[:, None]

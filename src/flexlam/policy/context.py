"""The context of a decision: sparse frames, whole code blocks, the newest frame on top (FlexLAM App. B.1).

A window begins at an episode step that the stride divides (an anchor). Its trunk holds, step by step, the patches of
the frame if the step is an anchor, then the K codes of the transition from that step:

    x_0 c_0 c_1 ... c_7 x_8 c_8 ... c_15 x_16 ...

The decision at step t sees the trunk up to c_{t-1}, then the patches of o_t, then the codes drawn so far. Where t is no
anchor these patches are a branch: nothing later sees them, so the agent rolls them back after the decision, and in
training one pass over a window holds the decision of every step, each on its own branch.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The tokens of one pass over a window of n blocks, and what each of them is, sees and predicts."""

    source: Tensor
    """(N,) index into the bank [patches of frames 0..n-1 | codes of blocks 0..n-1]."""
    positions: Tensor
    """(N,) place in the order of time; a branch goes on from where it leaves the trunk."""
    mask: Tensor
    """(1, 1, N, N) bool, True where the row's token sees the column's."""
    decision: Tensor
    """(n, K) index of the token that predicts code j of block t, having seen o_t."""
    history: Tensor
    """(m, K) the same in the trunk, for steps that are no anchors: without o_t."""
    history_steps: Tensor
    """(m,) their t."""


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # an evaluation may be the first to ask, and training takes what it left
def window_layout(num_blocks: int, stride: int, num_patches: int, num_slots: int) -> Layout:
    """The layout of a window of n blocks that begins at an anchor."""
    codes_from = num_blocks * num_patches
    source: list[int] = []
    positions: list[int] = []
    before: list[int] = []  # tokens of the trunk that a token sees (all before it)
    branch: list[int] = []  # -1 in the trunk, else its step
    predictors: dict[str, list[list[int]]] = {"decision": [], "history": []}

    def add(items: range, start: int, owner: int) -> list[int]:
        first = len(source)
        source.extend(items)
        positions.extend(range(start, start + len(items)))
        before.extend([start] * len(items))
        branch.extend([owner] * len(items))
        return list(range(first, len(source)))

    left_at = []  # where the branch of each step leaves the trunk
    for step in range(num_blocks):
        patches = range(step * num_patches, (step + 1) * num_patches)
        codes = range(codes_from + step * num_slots, codes_from + (step + 1) * num_slots)
        anchor = step % stride == 0
        if anchor:
            add(patches, len(source), -1)
        left_at.append(len(source))
        tokens = add(codes, len(source), -1)
        predictors["decision" if anchor else "history"].append([tokens[0] - 1, *tokens[:-1]])
    num_trunk = len(source)
    decision = dict(zip(range(0, num_blocks, stride), predictors["decision"], strict=True))
    steps = [step for step in range(num_blocks) if step % stride]
    for step in steps:
        patches = range(step * num_patches, (step + 1) * num_patches)
        codes = range(codes_from + step * num_slots, codes_from + (step + 1) * num_slots - 1)
        seen = add(patches, left_at[step], step)
        tokens = add(codes, left_at[step] + num_patches, step)
        decision[step] = [seen[-1], *tokens]
    left = torch.tensor([left_at[owner] if owner >= 0 else num_trunk for owner in branch])
    order, owner_of = torch.arange(len(source)), torch.tensor(branch)
    earlier = order[None] <= order[:, None]
    in_trunk = (owner_of < 0)[None] & (order[None] < left[:, None])
    mask = earlier & (in_trunk | (owner_of[None] == owner_of[:, None]))
    return Layout(
        torch.tensor(source),
        torch.tensor(positions),
        mask[None, None],
        torch.tensor([decision[step] for step in range(num_blocks)]),
        torch.tensor(predictors["history"]).view(-1, num_slots),
        torch.tensor(steps, dtype=torch.long),
    )


def max_trunk(context_frames: int, stride: int, num_patches: int, num_slots: int) -> int:
    """Tokens of the longest trunk: the blocks of a whole window and the frames at its anchors."""
    num_blocks = context_frames - 1
    return num_blocks * num_slots + (num_blocks // stride + 1) * num_patches


def window_start(step: int, context_frames: int, stride: int) -> int:
    """Where the window of the decision at an episode step begins: the first anchor from which all frames fit."""
    return stride * max(0, -((context_frames - 1 - step) // stride))

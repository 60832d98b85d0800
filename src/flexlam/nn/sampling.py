"""Drawing one of several choices by a uniform number."""

import torch
from torch import Tensor


def pick(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Choices (...) drawn from scores (..., C) by inverting their distribution at uniform numbers (...).

    The same number picks the same choice in any batch.
    """
    cumulated = torch.softmax(scores, -1).cumsum(-1)
    picked = torch.searchsorted(cumulated, uniforms[..., None].to(cumulated.dtype) * cumulated[..., -1:])
    return picked[..., 0].clamp_max(scores.shape[-1] - 1)

"""How far two sets of points lie apart, as distributions."""

import torch
from jaxtyping import Float
from torch import Tensor


def energy_distance(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> float:
    """2 E|a − b| − E|a − a'| − E|b − b'|, without bias: 0 on average where both come from one distribution.

    Source: Székely and Rizzo 2013. Both sets need two points.
    """
    a, b = a.double(), b.double()
    within = [torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(2 * torch.cdist(a, b).mean() - within[0] - within[1])

"""torch's Muon, with all matrices of one shape orthogonalised in one batch (figures: docs/log.md)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class BatchedMuon(torch.optim.Muon):
    """The update rule, settings and state of `torch.optim.Muon` with Nesterov momentum and `match_rms_adamw`.

    Its many small products one after another leave cores idle; here matrices of one shape are stacked (tall ones lie).
    """

    def __init__(self, params: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None, "a closure is not supported"
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            grads = [param.grad for param in params]
            momenta = [self._momentum(param) for param in params]
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
            updates = _orthogonalise(
                list(torch._foreach_lerp(grads, momenta, group["momentum"])),
                group["ns_coefficients"],
                group["ns_steps"],
                group["eps"],
            )
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            for param, update in zip(params, updates, strict=True):
                param.add_(update, alpha=-group["lr"] * 0.2 * max(param.shape) ** 0.5)

    def _momentum(self, param: Tensor) -> Tensor:
        state = self.state[param]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(param)
        momentum: Tensor = state["momentum_buffer"]
        return momentum


def _orthogonalise(
    updates: list[Tensor], coefficients: tuple[float, float, float], num_steps: int, eps: float
) -> list[Tensor]:
    """Newton-Schulz in bf16 (Jordan et al. 2024), one batch for each shape; the results in the order given."""
    batches: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, update in enumerate(updates):
        batches[tuple(sorted(update.shape))].append(number)
    results = list(updates)
    for numbers in batches.values():
        lying = torch.stack([_lie_down(updates[number]) for number in numbers]).bfloat16()
        for number, result in zip(numbers, _newton_schulz(lying, coefficients, num_steps, eps), strict=True):
            results[number] = result if result.shape == updates[number].shape else result.mT
    return results


def _newton_schulz(
    batch: Float[Tensor, "N R C"], coefficients: tuple[float, float, float], num_steps: int, eps: float
) -> Float[Tensor, "N R C"]:
    a, b, c = coefficients
    batch = batch / torch.linalg.vector_norm(batch, dim=(-2, -1), keepdim=True).clamp(min=eps)
    for _ in range(num_steps):
        gram = batch @ batch.mT
        batch = torch.baddbmm(batch, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), batch, beta=a)
    return batch


def _lie_down(matrix: Tensor) -> Tensor:
    return matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix

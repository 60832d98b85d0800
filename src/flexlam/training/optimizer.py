"""Muon for the matrices inside blocks, AdamW for the rest; learning rates as a function of the step."""

import math
import re
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from flexlam.core.config import Config
from flexlam.training.muon import BatchedMuon

_HIDDEN = re.compile(r"(blocks|layers)\.\d")
"""Matrices that map one hidden state to the next; embeddings and heads are none."""


class OptimizerConfig(Config):
    """Settings of the optimiser; one learning rate serves both parts (Muon's update is scaled to AdamW's size)."""

    name: Literal["muon", "adamw"] = "muon"
    """"muon" (matrices of blocks; the rest AdamW) or "adamw" (everything)."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak learning rate."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps of linear warm-up."""
    decay_share: float = Field(default=0.4, ge=0, le=1)
    """Share of the steps, at the end, over which the rate falls linearly to zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay of matrices; vectors have none."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


def build_optimizers(module: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Optimisers over all trainable parameters of a module."""
    hidden, matrices, vectors = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if config.name == "muon" and parameter.ndim == 2 and _HIDDEN.search(name) and "modulation" not in name:
            hidden.append(parameter)
        elif parameter.ndim >= 2:
            matrices.append(parameter)
        else:
            vectors.append(parameter)
    rate, decay = config.learning_rate, config.weight_decay
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=(0.9, 0.95), fused=True)
    ]
    if hidden:
        optimizers.append(BatchedMuon(hidden, rate, decay))
    return optimizers


def set_learning_rate(
    optimizers: list[torch.optim.Optimizer], config: OptimizerConfig, step: int, num_steps: int
) -> float:
    """Warm up, hold, decay to zero (a function of the step, so nothing has to be stored); returns the rate."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay_steps = max(1, math.ceil(config.decay_share * num_steps))
    rate = config.learning_rate * min(warmup, (num_steps - step) / decay_steps, 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
    return rate


def optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The whole state of the optimisers as named tensors."""
    return {
        f"{number}.{index}.{key}": value
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def load_optimizer_tensors(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            which, index, key = name.split(".", 2)
            if int(which) == number:
                state.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

"""Actions and latents of all kinds, small enough to count by hand."""

import pytest
import torch

from flexlam.core.action import ActionSpec


@pytest.fixture
def mixed() -> ActionSpec:
    """Choices of 3 and of 2, then two numbers."""
    return ActionSpec(num_choices=(3, 2), num_continuous=2)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)

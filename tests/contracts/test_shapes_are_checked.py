"""The guard on annotated shapes: it fires, and it covers the package."""

import pytest
import torch
from jaxtyping import TypeCheckError

from flexlam.bottleneck.fsq import FSQ
from flexlam.bottleneck.prefix import prefix_probabilities
from flexlam.core.config import Config
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images, patchify


def test_a_missing_dimension_is_caught() -> None:
    with pytest.raises(TypeCheckError, match="images"):
        patchify(torch.zeros(3, 8, 8), 4)


def test_a_wrong_dtype_is_caught() -> None:
    with pytest.raises(TypeCheckError, match="frames"):
        frames_to_images(torch.zeros(8, 8, 3))


def test_axes_that_should_be_equal_are_caught() -> None:
    model = LatentActionModel(LatentActionModel.Config(), (32, 32, 3)).eval()
    with pytest.raises(TypeCheckError):
        model.encode_images(torch.zeros(2, 3, 32, 32), torch.zeros(3, 3, 32, 32))


def test_a_wrong_plain_type_is_caught() -> None:
    with pytest.raises(TypeCheckError, match="num_slots"):
        FSQ(FSQ.Config(), num_slots="four")


def test_a_wrong_result_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flexlam.bottleneck.prefix._FAMILIES", {"full": lambda k, K: torch.ones(K)})
    with pytest.raises(TypeCheckError, match="return"):
        prefix_probabilities("full", 4)


def test_methods_that_return_self_are_checked_in_everything_else() -> None:
    with pytest.raises(TypeCheckError, match="where"):
        Config.parse({}, where=3)

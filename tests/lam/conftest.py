import numpy as np
import pytest
import torch

from flexlam.lam.decoders.flow import FlowDecoder
from flexlam.lam.decoders.regression import RegressionDecoder
from flexlam.lam.encoders.pair import PairEncoder
from flexlam.lam.model import LatentActionModel

FRAME_SHAPE = (8, 12, 3)
SMALL = {"patch_size": 4, "dim": 16, "depth": 1, "num_heads": 2}
DECODERS = {"regression": RegressionDecoder.Config(**SMALL), "flow": FlowDecoder.Config(**SMALL)}


def build(decoder: str = "regression", **changes: object) -> LatentActionModel:
    """A tiny model whose decoder listens to its latents, as if trained a little."""
    torch.manual_seed(0)
    settings = {"num_slots": 4, "encoder": PairEncoder.Config(**SMALL), "decoder": DECODERS[decoder]}
    model = LatentActionModel(LatentActionModel.Config(**{**settings, **changes}), FRAME_SHAPE)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            if "modulation" in name or "head" in name:
                parameter.normal_(std=0.3)
    return model.eval()


@pytest.fixture(params=sorted(DECODERS))
def any_model(request: pytest.FixtureRequest) -> LatentActionModel:
    return build(request.param)


@pytest.fixture
def model() -> LatentActionModel:
    return build()


@pytest.fixture
def flow_model() -> LatentActionModel:
    return build("flow")


@pytest.fixture
def fixed_model() -> LatentActionModel:
    """The Fixed-K baseline: whole codes only."""
    return build(prefix_sampling="full")


@pytest.fixture
def frames() -> np.ndarray:
    """Six random frames."""
    return np.random.default_rng(0).integers(0, 256, (6, *FRAME_SHAPE), dtype=np.uint8)

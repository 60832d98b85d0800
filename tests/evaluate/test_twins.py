"""The twin test of models that are known to read the action, the background, or both."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.core.errors import DataError
from flexlam.data.store import FrameStore
from flexlam.evaluate import twins
from flexlam.evaluate.twins import TwinTest
from known_world import KnownModel, action_of, background_of, known_pairs, known_store, slots


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FrameStore, FrameStore]:
    path = tmp_path_factory.mktemp("twins")
    return known_store(path / "a", length=20), known_store(path / "b", length=20, background=1)


def twin_test(stores: tuple[FrameStore, FrameStore], model: KnownModel) -> TwinTest:
    index = known_pairs(stores[0]).test
    return TwinTest(model, *stores, index, np.arange(len(index)))


def action_then_background(obs: Tensor, next_obs: Tensor) -> Tensor:
    return slots(action_of(obs, next_obs), 10 * background_of(next_obs))


def test_codes_of_the_action_are_those_of_the_twin(stores: tuple[FrameStore, FrameStore]) -> None:
    test = twin_test(stores, KnownModel(action_then_background))
    first, both = test.measure(1), test.measure(2)
    assert (first["twin_agreement"], first["twin_score"]) == (1.0, 0.0)
    assert 0.1 < first["twin_agreement_chance"] < 0.5, "one of four actions"
    assert both["twin_agreement"] < 0.7 and both["twin_score"] > 0.5


def test_codes_of_the_background_are_as_far_apart_as_any(stores: tuple[FrameStore, FrameStore]) -> None:
    test = twin_test(stores, KnownModel(lambda a, b: slots(background_of(b), torch.zeros(len(a)))))
    assert test.measure(1)["twin_score"] == pytest.approx(1, abs=0.3)
    constant = twin_test(stores, KnownModel())
    assert constant.measure(2)["twin_score"] == 0.0 and constant.measure(2)["twin_agreement_chance"] == 1.0


def test_without_a_code_only_decoding_errors_are_told(stores: tuple[FrameStore, FrameStore]) -> None:
    assert twin_test(stores, KnownModel()).measure(0).keys() == {"exogenous_error", "endogenous_error"}


def test_decoding_errors_are_told_apart_by_region(stores: tuple[FrameStore, FrameStore]) -> None:
    def advance(obs: Tensor, latents: Tensor, k: int) -> Tensor:
        frames = obs.clone()
        if k >= 1:
            frames[:, 0, 0] += latents[:, 0, :1].to(torch.uint8)
        if k >= 2:
            frames[:, 2:] = (128 + 1.6 * latents[:, 1, 0]).round().clamp(0, 255).to(torch.uint8)[:, None, None, None]
        return frames

    test = twin_test(stores, KnownModel(action_then_background, advance))
    nothing, action, all_of_it = (test.measure(k) for k in (0, 1, 2))
    assert nothing["exogenous_error"] == pytest.approx(1) and nothing["endogenous_error"] == pytest.approx(1)
    assert action["exogenous_error"] == pytest.approx(1) and action["endogenous_error"] < 0.7
    assert all_of_it["exogenous_error"] < 0.01 > all_of_it["endogenous_error"]
    assert not test.exogenous[:, :2].any(), "the counter is in front of both backgrounds"
    assert test.exogenous[:, 2:].float().mean() > 0.7


def test_a_region_in_which_nothing_changes_has_no_error(stores: tuple[FrameStore, FrameStore]) -> None:
    test = twin_test(stores, KnownModel())
    test.exogenous = torch.zeros_like(test.exogenous)
    assert np.isnan(test.measure(1)["exogenous_error"]) and test.measure(1)["endogenous_error"] == pytest.approx(1)


def test_transitions_are_taken_from_the_whole_of_the_rows(
    stores: tuple[FrameStore, FrameStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "_NUM_TRANSITIONS", 10)
    index = known_pairs(stores[0]).test
    test = twin_test(stores, KnownModel())
    assert len(test.batch.obs) == 10
    ends = index.batch(stores[0], np.array([0, len(index) - 1])).obs
    assert torch.equal(test.batch.obs[[0, -1]], ends)


def test_what_is_no_twin_is_refused(stores: tuple[FrameStore, FrameStore], tmp_path: Path) -> None:
    shorter = known_store(tmp_path, length=19, background=1)
    with pytest.raises(DataError, match="the length 20 in one and 19 in the other"):
        twin_test((stores[0], shorter), KnownModel())

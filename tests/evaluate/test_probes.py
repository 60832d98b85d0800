"""What probes find of models whose latents are known functions of what happened (tests/known_world.py)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.extras import EXOGENOUS_INNOVATION, EXOGENOUS_STATE
from flexlam.data.store import FrameStore
from flexlam.evaluate import probes
from flexlam.evaluate.probes import ProbesConfig, judge_leakage, measure_probes
from known_world import KnownModel, action_of, background_of, known_pairs, known_store, one_hot, slots

LINEAR = ProbesConfig(nonlinear=False, num_swaps=40)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    return known_store(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """The same games before another background."""
    return known_store(tmp_path_factory.mktemp("other"), background=1)


def innovation_of(obs: Tensor, next_obs: Tensor) -> Tensor:
    return background_of(next_obs) - 0.5 * background_of(obs)


def action_then_innovation(obs: Tensor, next_obs: Tensor) -> Tensor:
    return slots(one_hot(action_of(obs, next_obs)), innovation_of(obs, next_obs))


def carried_out(obs: Tensor, latents: Tensor, k: int) -> Tensor:
    """The counter grows by the action in the first slot; the background stays."""
    frames = obs.clone()
    if k:
        frames[:, 0, 0] += latents[:, 0].argmax(1).to(torch.uint8)[:, None]
    return frames


def measured(model: KnownModel, store: FrameStore, config: ProbesConfig = LINEAR, **pairs: Any) -> dict[int, Any]:
    results = measure_probes(model, known_pairs(store, **pairs), config)
    json.dumps(results)
    return {row["k"]: row for row in results["rows"]} | {"all": results}


# ---- what is read


def test_each_slot_is_found_to_tell_what_it_holds_and_nothing_else(world: FrameStore) -> None:
    found = measured(KnownModel(action_then_innovation), world)
    assert list(found) == [0, 1, 2, "all"]
    for k, action, innovation in ((0, 1, 1), (1, 0, 1), (2, 0, 0)):
        assert found[k]["action_linear_nmse"] == pytest.approx(action, abs=0.05)
        assert found[k]["exogenous_innovation_linear_nmse"] == pytest.approx(innovation, abs=0.05)
        assert found[k]["exogenous_state_linear_nmse"] > 0.9, "of the present background nothing is told"
        assert found[k]["endogenous_change_linear_nmse"] == pytest.approx(action, abs=0.05)
        assert found[k]["endogenous_state_linear_nmse"] > 0.9
    assert found[2]["bits"] == 6.0 and found[0]["bits_used"] == 0 and found[2]["bits_used"] > found[1]["bits_used"]
    assert found["all"]["verdict"] == "tells of the action and of the background"
    assert not any("mlp" in key for key in found[2]) and found["all"]["num_test"] == 4 * 30


def test_accuracy_stands_beside_guessing(world: FrameStore) -> None:
    found = measured(KnownModel(action_then_innovation), world)
    assert found[1]["action_linear_accuracy"] == 1.0
    chance = found["all"]["chance"]["action_accuracy"]
    pairs = known_pairs(world)
    train, test = (pairs.store.actions[index.first, 0].astype(int) for index in (pairs.train, pairs.test))
    assert chance == pytest.approx((test == np.bincount(train).argmax()).mean())
    assert found[0]["action_linear_accuracy"] == pytest.approx(chance), "without a code the same is always guessed"


def test_small_networks_read_what_no_linear_map_does(world: FrameStore) -> None:
    def hidden(obs: Tensor, next_obs: Tensor) -> Tensor:
        """The innovation under a random sign that stands beside it: a product, which no linear map undoes."""
        sign = torch.where(torch.arange(len(obs)) % 2 == 0, 1.0, -1.0)
        return slots(torch.stack([sign, sign * innovation_of(obs, next_obs)], 1), torch.zeros(len(obs)))

    row = measured(KnownModel(hidden), world, ProbesConfig(prefix_lengths=(1,), num_swaps=40, num_steps=150))[1]
    assert row["exogenous_innovation_linear_nmse"] > 0.85
    assert row["exogenous_innovation_mlp_nmse"] < 0.4
    assert row["action_mlp_nmse"] > 0.9 and 0 <= row["action_mlp_accuracy"] < 0.5


def test_the_asked_for_prefix_lengths_are_served_and_no_others(world: FrameStore) -> None:
    config = LINEAR.model_copy(update={"prefix_lengths": (2, 0)})
    assert list(measured(KnownModel(), world, config)) == [0, 2, "all"]
    with pytest.raises(ConfigError, match="0 to 2"):
        measured(KnownModel(), world, LINEAR.model_copy(update={"prefix_lengths": (3,)}))


# ---- the innovation


def test_a_recorded_innovation_is_what_is_asked_for_over_one_step(tmp_path: Path) -> None:
    """It is recorded as something that no frame tells, so nothing can be read; by regression all could."""

    def unrelated(columns: Any) -> dict[str, np.ndarray]:
        noise = np.random.default_rng(len(columns.times)).normal(size=(len(columns.times), 1))
        return columns.extras | {EXOGENOUS_INNOVATION: noise.astype(np.float32)}

    store = known_store(tmp_path, extras=unrelated)
    model = KnownModel(action_then_innovation)
    assert measured(model, store)[2]["exogenous_innovation_linear_nmse"] > 0.9
    assert measured(model, store, gap_steps=2)[2]["exogenous_innovation_linear_nmse"] < 0.95


def test_over_other_gaps_it_is_what_a_regression_does_not_foretell(world: FrameStore) -> None:
    def two_steps(obs: Tensor, next_obs: Tensor) -> Tensor:
        return slots(background_of(next_obs) - 0.25 * background_of(obs), background_of(obs))

    found = measured(KnownModel(two_steps), world, gap_steps=2)
    assert found[1]["exogenous_innovation_linear_nmse"] < 0.02
    assert found[1]["exogenous_state_linear_nmse"] > 0.9, "the present state is another matter"
    assert found[2]["exogenous_state_linear_nmse"] < 0.02


def test_without_a_recorded_innovation_a_regression_makes_one(tmp_path: Path) -> None:
    store = known_store(tmp_path, extras=lambda columns: {EXOGENOUS_STATE: columns.extras[EXOGENOUS_STATE]})
    found = measured(KnownModel(action_then_innovation), store)
    assert found[1]["exogenous_innovation_linear_nmse"] > 0.9 > 0.02 > found[2]["exogenous_innovation_linear_nmse"]
    assert not any(key.startswith("endogenous_state") for key in found[2])


def test_an_innovation_counts_as_recorded_only_where_every_set_of_episodes_has_it() -> None:
    """With gaps in seconds over uneven times some transitions may take two steps."""
    state = np.random.default_rng(0).normal(size=(50, 1))
    full = {"exogenous_state": state, "exogenous_next": 0.5 * state + 1, "exogenous_innovation": state * 9}
    part = {name: values for name, values in full.items() if name != "exogenous_innovation"}
    targets = {"train": dict(full), "validation": dict(part), "test": dict(full)}
    probes._with_innovation(targets)
    for of_part in targets.values():
        assert of_part.keys() == {"exogenous_state", "exogenous_innovation"}
        np.testing.assert_allclose(of_part["exogenous_innovation"], 0, atol=1e-9)


# ---- what a store does not tell


def test_what_the_store_does_not_tell_is_not_measured(tmp_path: Path) -> None:
    video = known_store(tmp_path / "video", num_episodes=16, length=12, extras=lambda _: {}, spec=None)
    found = measured(KnownModel(action_then_innovation), video)
    targets = ("action", "endogenous", "exogenous")
    assert not any(key.startswith(targets) for key in found[2]) and found["all"]["chance"] == {}
    assert {"swap_score", "cut_explained", "psnr", "delta_psnr"} <= found[2].keys()
    assert "pasted" in found["all"]["verdict"] + found["all"]["reason"]


def test_a_target_that_does_not_vary_is_an_error(tmp_path: Path) -> None:
    def still(columns: Any) -> dict[str, np.ndarray]:
        return {EXOGENOUS_STATE: np.ones_like(columns.extras[EXOGENOUS_STATE])}

    with pytest.raises(DataError, match="does not vary over the test episodes"):
        measured(KnownModel(), known_store(tmp_path, length=12, extras=still))


def test_continuous_actions_and_several_choices_have_no_accuracy(tmp_path: Path) -> None:
    store = known_store(tmp_path, length=12, extras=lambda _: {}, spec=ActionSpec(num_continuous=1))
    found = measured(KnownModel(lambda a, b: slots(action_of(a, b), torch.zeros(len(a)))), store)
    assert found[1]["action_linear_nmse"] < 1e-3 and "action_linear_accuracy" not in found[1]
    assert found["all"]["chance"] == {} and found["all"]["verdict"] != "tells of neither"


# ---- decoding


def test_a_code_that_is_carried_out_elsewhere_is_read_again_there(world: FrameStore) -> None:
    found = measured(KnownModel(action_then_innovation, carried_out), world)
    assert found[1]["action_cycle_nmse"] < 0.02 and found[1]["action_cycle_accuracy"] == 1.0
    assert found[0]["action_cycle_nmse"] == pytest.approx(1, abs=0.05)
    copies = measured(KnownModel(action_then_innovation), world)
    assert copies[1]["action_linear_nmse"] < 0.02 and copies[1]["action_cycle_nmse"] > 0.9
    assert copies[1]["delta_psnr"] == 0


def test_a_code_is_carried_out_in_frames_of_other_episodes(world: FrameStore) -> None:
    """A code that tells the next frame, and not what changes, is caught: elsewhere it is no action."""

    def arrival(obs: Tensor, next_obs: Tensor) -> Tensor:
        counter = (next_obs[:, 0, 0, 0].float() + 1e-3 * action_of(obs, next_obs)) / 64
        return slots(torch.cat([one_hot(action_of(obs, next_obs)), counter[:, None]], 1)[:, 1:], torch.zeros(len(obs)))

    def arrive(obs: Tensor, latents: Tensor, k: int) -> Tensor:
        frames = obs.clone()
        if k:
            frames[:, 0, 0] = ((latents[:, 0, 3] * 64).floor() % 256).to(torch.uint8)[:, None]
        return frames

    row = measured(KnownModel(arrival, arrive), world)[1]
    assert row["action_linear_nmse"] < 0.02 and row["action_cycle_nmse"] > 0.9
    decoding = probes._Decoding(KnownModel(arrival, arrive), world, _part(world))
    episodes = known_pairs(world).test.episode[_part(world).rows[decoding.rows]]
    moved_to = [
        int(np.flatnonzero((world.frames(np.arange(world.num_frames)) == frame.numpy()).all((1, 2, 3)))[0])
        for frame in decoding.elsewhere
    ]
    owner = np.repeat(np.arange(world.num_episodes), world.episodes.lengths)
    assert (owner[moved_to] != episodes).all()


def _part(world: FrameStore) -> probes._Part:
    index = known_pairs(world).test
    return probes._encode(KnownModel(action_then_innovation), world, index, 4000, 0)


def test_decoded_transitions_are_of_all_test_episodes(world: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_NUM_DECODED", 20)
    part = _part(world)
    decoding = probes._Decoding(KnownModel(), world, part)
    assert len(decoding.rows) == len(decoding.obs) == 20
    assert set(part.episode[decoding.rows]) == set(part.episode)


def test_psnr_is_that_of_own_codes_and_the_difference_is_to_those_of_others(world: FrameStore) -> None:
    def seen(obs: Tensor, next_obs: Tensor) -> Tensor:
        return slots(background_of(next_obs), torch.zeros(len(obs)))

    def paint(obs: Tensor, latents: Tensor, k: int) -> Tensor:
        frames = obs.clone()
        if k:
            frames[:, 2:] = (128 + 16 * latents[:, 0, 0]).round().to(torch.uint8)[:, None, None, None]
        return frames

    found = measured(KnownModel(seen, paint), world)
    assert found[1]["psnr"] > found[0]["psnr"] + 10 and found[1]["delta_psnr"] > 10
    assert found[0]["delta_psnr"] == 0


# ---- twins


def test_codes_of_a_twin_are_compared_when_there_is_one(world: FrameStore, other: FrameStore) -> None:
    results = measure_probes(KnownModel(action_then_innovation), known_pairs(world), LINEAR, other)
    assert results["twin"] and results["rows"][1]["twin_score"] == 0 and results["rows"][2]["twin_score"] > 0.1
    assert not measure_probes(KnownModel(), known_pairs(world), LINEAR)["twin"]


def test_what_is_no_twin_is_refused(world: FrameStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no twins: all their frames are identical"):
        measure_probes(KnownModel(), known_pairs(world), LINEAR, world)
    with pytest.raises(DataError, match="no twins: they have 16 and 6 episodes"):
        measure_probes(KnownModel(), known_pairs(world), LINEAR, known_store(tmp_path, num_episodes=6, background=1))


# ---- verdicts


def row(action: float | None = None, innovation: float | None = None, stderr: float = 0.01, swap: float = 0.0, **more):
    """A row in which so much of the action and of the innovation is read."""
    found = {"k": 4, "swap_score": swap, **more}
    for name, read in (("action", action), ("exogenous_innovation", innovation)):
        if read is not None:
            found |= {f"{name}_linear_nmse": 1 - read, f"{name}_linear_nmse_stderr": stderr}
    return found


@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        (row(0.9, 0.02), "tells of the action", "2% of what is new in the background"),
        (row(0.9, 0.4), "tells of the action and of the background", "and 90% of the action"),
        (row(0.2, 0.4), "tells of the background, not of the action", "40% of what is new"),
        (row(0.2, 0.02), "tells of neither", "and 20% of the action"),
        (row(None, 0.4), "tells of the background", "40% of what is new"),
        (row(None, 0.02), "does not tell of the background", "2% of what is new"),
        (row(0.9, None, swap=0.5), "tells of anything that moves", "take away 50.0% of the decoding error"),
        (row(None, None, swap=0.01), "hardly tells of pasted motion", "take away 1.0%"),
        (row(0.9, 0.2, stderr=0.1), "tells of the action", "20% of what is new"),  # two standard errors are not enough
        (row(0.9, 0.099), "tells of the action", "10% of what is new"),
        (row(0.5, 0.0), "tells of the action", "50% of the action"),
        (row(0.9, -0.3), "tells of the action", "-30% of what is new"),
        (
            row(0.9, 0.02, exogenous_innovation_mlp_nmse=0.7, exogenous_innovation_mlp_nmse_stderr=0.01),
            "tells of the action and of the background",
            "30% of what is new",
        ),
    ],
)
def test_the_verdict_follows_from_what_is_read(measured: dict[str, Any], verdict: str, reason: str) -> None:
    found = judge_leakage(measured)
    assert found[0] == verdict and reason in found[1]


def test_the_verdict_is_of_the_longest_prefix(world: FrameStore) -> None:
    results = measure_probes(
        KnownModel(lambda a, b: slots(innovation_of(a, b), action_of(a, b) * 0)), known_pairs(world), LINEAR
    )
    assert results["verdict"] == "tells of the background, not of the action"
    assert (results["verdict"], results["reason"]) == judge_leakage(results["rows"][-1])

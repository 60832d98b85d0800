"""Returns are compared on the same fresh episodes; nothing is chosen on them; every refusal comes before the work."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexlam.acting.actor import Actor
from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.baselines import BehaviourActor, ConstantActor, Uniform
from flexlam.acting.collect import Expert
from flexlam.acting.rollout import Arena, PlayedEpisode
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.seeding import derive_seed
from flexlam.data.labels import LabelBudget
from flexlam.envs.base import Step
from flexlam.envs.overlay import Flicker
from flexlam.evaluate import returns
from flexlam.evaluate.contenders import BLIND, Contenders, train_contenders
from flexlam.evaluate.returns import Acted, ReturnsConfig, averages_ways, choose_rule, measure_returns, recorded_returns
from flexlam.policy.cloning import CloningPolicy
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.regression import RegressionPolicy
from flexlam.report.inputs import Returns
from flexlam.report.returns import return_comparisons_table, returns_table
from flexlam.training.cloning import CloningConfig
from recorded_square import Parts, random_parts, record_squares
from small_spaces import frame_policy
from square_world import SquareGame, SquareSuite
from tiny import FIT

BRIEF = FIT.model_copy(update={"max_steps": 10})
CLONING = CloningConfig(
    network=CloningPolicy.Config(channels=(8, 8), hidden_dim=16), num_steps=3, fit=BRIEF, device="cpu"
)
CONFIG = ReturnsConfig(
    suite="squares",
    labels=LabelBudget(count=60),
    rule=DrawRule(num_samples=2, temperature=0.5),
    fit=BRIEF,
    idm_fit=BRIEF,
    cloning=CLONING,
    num_episodes=4,
    num_choice_episodes=3,
    num_environments=3,
    num_workers=1,
)
SEEN: list[tuple[str, int]] = []
"""Task and seed of every episode that began."""


class WatchedSuite(SquareSuite):
    """The square suite; notes which episodes begin."""

    def make(self, task: str) -> SquareGame:
        game = super().make(task)
        reset = game.reset

        def noting(seed: int) -> Step:
            SEEN.append((task, seed))
            return reset(seed)

        game.reset = noting  # type: ignore[method-assign]
        return game


@pytest.fixture(scope="module", autouse=True)
def watched() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(returns, "open_suite", lambda name: WatchedSuite())
        yield


def measure(parts: Parts, **changes: object) -> Acted:
    return measure_returns(parts.lam, parts.pairs, CONFIG.model_copy(update=changes), parts.policy)


@pytest.fixture(scope="module")
def acted(parts: Parts, watched: None) -> Acted:
    SEEN.clear()
    return measure(parts)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Actor, list[float]]]:
    """Purpose, actor and returns of everything that is played."""
    found: list[tuple[str, Actor, list[float]]] = []
    original = Arena.play

    def play(
        self: Arena,
        make_actor: Callable[[int], Actor],
        num_episodes: int,
        seed: int,
        purpose: str = "test",
        *rest: Any,
        **settings: Any,
    ) -> list[PlayedEpisode]:
        episodes = original(self, make_actor, num_episodes, seed, purpose, *rest, **settings)
        found.append((purpose, make_actor(1), [episode.episode_return for episode in episodes]))
        return episodes

    monkeypatch.setattr(Arena, "play", play)
    return found


# ---- what comes out


def test_every_k_and_everybody_else_in_the_schema_of_the_page(acted: Acted) -> None:
    assert json.loads(json.dumps(acted.results, allow_nan=False)) == acted.results
    parsed = Returns.parse(acted.results, "here")
    assert (parsed.num_labels, parsed.translator) == (60, "prefix-sampled")
    assert parsed.rule == {"num_samples": 2, "codes": "sample", "temperature": 0.5}
    assert [task.task for task in parsed.tasks] == ["short", "long"]
    for task in acted.results["tasks"]:
        assert [row["k"] for row in task["rows"]] == [0, 1, 2, 4]
        expected = {*CONFIG.baselines, "recorded"} | ({"expert"} if task["task"] == "long" else set())
        assert task["baselines"].keys() == expected
        others = set(CONFIG.baselines) - set(BLIND)
        assert task["comparisons"].keys() == {*others, "k0", "best_blind"}
        acting = [*task["rows"], *(task["baselines"][name] for name in CONFIG.baselines)]
        assert all(len(found["episode_returns"]) == task["num_episodes"] == 4 for found in acting)
    text = returns_table(acted.results).to_text()
    for words in ("k = 0", "k = 4 (all slots)", "agent, shuffled codes", "best constant action", "IDM pseudo-labels"):
        assert words in text
    comparisons = return_comparisons_table(acted.results)
    assert comparisons is not None and "best blind control" in comparisons.to_text()


def test_returns_are_normalised_where_there_is_a_reference(acted: Acted) -> None:
    short, long = acted.results["tasks"]
    assert short["reference"] is None
    assert not any("normalised" in row for row in (*short["rows"], *short["baselines"].values()))
    for found in (*long["rows"], *(long["baselines"][name] for name in CONFIG.baselines)):
        values = np.array(found["episode_returns"])
        assert found["return"] == pytest.approx(values.mean())
        assert found["return_stderr"] == pytest.approx(values.std(ddof=1) / 2)
        assert found["normalised"] == pytest.approx(values.mean() / 30)
        assert found["normalised_stderr"] == pytest.approx(values.std(ddof=1) / 2 / 30)
    assert long["baselines"]["expert"] | {"return": 30.0, "normalised": 1.0} == long["baselines"]["expert"]


def test_comparisons_are_paired_by_episode(acted: Acted) -> None:
    for task in acted.results["tasks"]:
        full = np.array(task["rows"][-1]["episode_returns"])
        others = {**task["baselines"], "k0": task["rows"][0]}
        best = max(BLIND, key=lambda name: others[name]["return"])
        assert task["comparisons"]["best_blind"]["which"] == best
        for name, found in task["comparisons"].items():
            difference = full - np.array(others[best if name == "best_blind" else name]["episode_returns"])
            assert found["difference"] == pytest.approx(difference.mean())
            assert found["stderr"] == pytest.approx(difference.std(ddof=1) / 2)
            assert found["num_episodes"] == 4


def test_the_shown_episode_is_the_first_one_with_all_codes(acted: Acted, parts: Parts) -> None:
    assert acted.shown.keys() == {"short", "long"}
    for task, length in (("short", 12), ("long", 30)):
        episode, row = acted.shown[task], acted.results["tasks"][task == "long"]["rows"][-1]
        assert episode.number == 0 and episode.episode_return == row["episode_returns"][0]
        assert len(episode.frames) == len(episode.actions) == len(episode.notes) == length
        codes = np.stack([np.asarray(note) for note in episode.notes])
        assert codes.shape == (length, parts.lam.num_slots)
        assert codes.min() >= 0 and codes.max() < parts.lam.quantizer.codebook_size
        game = SquareSuite().make(task)
        np.testing.assert_array_equal(episode.frames[0], game.reset(derive_seed(0, "test", task, 0)).obs)


# ---- how it is measured


def test_testing_shares_no_episode_with_recording_or_choosing(acted: Acted) -> None:
    seeds = {
        purpose: {(task, derive_seed(0, purpose, task, number)) for task in ("short", "long") for number in range(99)}
        for purpose in ("record", "validation", "test")
    }
    met = {purpose: {seen for seen in SEEN if seen in named} for purpose, named in seeds.items()}
    assert len(met["test"]) == 2 * CONFIG.num_episodes and not met["record"]
    assert len(met["validation"]) == 2 * CONFIG.num_choice_episodes
    assert set(SEEN) == met["test"] | met["validation"]
    assert not seeds["test"] & (seeds["validation"] | seeds["record"])


def test_one_seed_gives_one_result_and_another_one_another(parts: Parts) -> None:
    fewer = {"baselines": ("marginal", "cloning"), "prefix_lengths": (0, 4), "tasks": ("long",)}
    first = measure(parts, **fewer).results
    assert measure(parts, **fewer).results == first
    assert measure(parts, **fewer, num_workers=2, num_environments=4).results == first
    other = measure(parts, **fewer, seed=1).results
    assert other["tasks"][0]["rows"] != first["tasks"][0]["rows"]


def test_each_share_of_the_shuffled_agents_episodes_is_that_of_another_shuffle(
    parts: Parts, played: list[tuple[str, Actor, list[float]]]
) -> None:
    changes = {"baselines": ("shuffled",), "tasks": ("short",), "prefix_lengths": (0, 4), "num_episodes": 25}
    (task,) = measure(parts, **changes, num_shuffles=4).results["tasks"]
    assert len(task["baselines"]["shuffled"]["episode_returns"]) == 25
    *_, first, second, third = [(actor, found) for _, actor, found in played]
    assert [len(found) for _, found in (first, second, third)] == [9, 8, 8], "too few for a fourth share"
    assert len({id(actor.translator) for actor, _ in (first, second, third) if isinstance(actor, Agent)}) == 3
    assert task["baselines"]["shuffled"]["episode_returns"][1::3] == second[1]


def test_the_best_constant_is_chosen_on_validation_episodes(
    parts: Parts, played: list[tuple[str, Actor, list[float]]]
) -> None:
    result = measure(parts, baselines=("constant",), tasks=("long",), prefix_lengths=(0,)).results["tasks"][0]
    constants = [(purpose, actor, found) for purpose, actor, found in played if isinstance(actor, ConstantActor)]
    candidates = {float(actor._action[0]): found for purpose, actor, found in constants if purpose == "validation"}
    assert candidates.keys() == {0, 1, 2, 3, 4}
    assert all(len(found) == CONFIG.num_choice_episodes for found in candidates.values())
    ((_, chosen, tested),) = [entry for entry in constants if entry[0] == "test"]
    assert isinstance(chosen, ConstantActor)
    best = max(candidates.values(), key=np.mean)
    assert candidates[float(chosen._action[0])] == best and len({tuple(f) for f in candidates.values()}) > 1
    assert result["baselines"]["constant"]["episode_returns"] == tested
    assert all(purpose == "test" for purpose, actor, _ in played if isinstance(actor, Agent))


def test_episodes_are_as_many_as_asked_for(parts: Parts) -> None:
    few = {"baselines": ("random",), "prefix_lengths": (4, 1, 4)}
    short, long = measure(parts, **few, num_episodes=5, fewer_episodes={"short": 2, "elsewhere": 9}).results["tasks"]
    assert (short["num_episodes"], long["num_episodes"]) == (2, 5)
    assert [len(row["episode_returns"]) for row in short["rows"]] == [2, 2]
    assert len(long["baselines"]["random"]["episode_returns"]) == 5
    assert [row["k"] for row in long["rows"]] == [1, 4]
    assert long["comparisons"].keys() == {"random"}, "without k = 0 nothing is compared with it"


def test_a_share_of_labels_is_told_as_a_number(parts: Parts) -> None:
    config = {"labels": LabelBudget(fraction=0.25), "baselines": (), "prefix_lengths": (4,), "tasks": ("short",)}
    results = measure(parts, **config).results
    assert Returns.parse(results, "here").num_labels == pytest.approx(0.25 * len(parts.pairs.train), abs=1)
    assert returns_table(results)


def test_overlays_reach_the_frames_of_the_agent(acted: Acted, parts: Parts) -> None:
    config = {"baselines": (), "prefix_lengths": (4,), "tasks": ("short",)}
    shown = measure(parts, **config, overlays=(Flicker.Config(),)).shown["short"]
    assert not np.array_equal(shown.frames[0], acted.shown["short"].frames[0])


# ---- what was recorded


def test_recorded_returns_leave_out_the_episode_that_was_cut(parts: Parts) -> None:
    store = parts.pairs.store
    assert store.rewards is not None
    for task, length in (("short", 12), ("long", 30)):
        numbers = [number for number, name in enumerate(store.episodes.tasks) if name == task]
        lengths = store.episodes.lengths[numbers]
        assert set(lengths[:-1]) == {length} and lengths[-1] < length, "only the last one is cut"
        found = recorded_returns(store, task)
        assert len(found) == len(numbers) - 1
        start = store.episodes.starts[numbers[0]]
        assert found[0] == pytest.approx(store.rewards[start : start + length].sum())
    assert recorded_returns(store, "long").mean() > 15, "an expert with some noise"


def test_a_single_recorded_episode_has_no_standard_error_and_is_left_out(tmp_path: Path) -> None:
    parts = random_parts(record_squares(tmp_path, 36))
    config = {"labels": LabelBudget(count=20), "baselines": (), "prefix_lengths": (4,), "tasks": ("long",)}
    assert len(recorded_returns(parts.pairs.store, "long")) == 1
    assert "recorded" not in measure(parts, **config).results["tasks"][0]["baselines"]


# ---- how codes and actions are drawn

GOOD, BAD = DrawRule(num_samples=3, temperature=0.0), DrawRule(num_samples=3, temperature=1.0)


def stand_in(expert: bool) -> Any:
    return BehaviourActor(Expert if expert else Uniform)


@pytest.fixture(scope="module")
def trained(parts: Parts) -> Contenders:
    config = CONFIG.model_copy(update={"baselines": ()})
    return train_contenders(parts.lam, parts.policy, parts.pairs, config)


def test_the_rule_under_which_the_agent_returns_more_is_chosen_on_validation_episodes(
    trained: Contenders, played: list[tuple[str, Actor, list[float]]]
) -> None:
    stubs = dataclasses.replace(trained, agent=lambda k, rule, slots: stand_in(rule == GOOD))
    for candidates in ((GOOD, BAD), (BAD, GOOD)):
        config = CONFIG.model_copy(update={"candidate_rules": candidates})
        assert choose_rule(stubs, SquareSuite(), ("short", "long"), 4, config) == GOOD
    assert {purpose for purpose, *_ in played} == {"validation"}
    assert {len(found) for *_, found in played} == {CONFIG.num_choice_episodes}


def test_cloning_has_a_say_in_the_rule_where_it_takes_part(trained: Contenders) -> None:
    clone = {"cloning": lambda task, rule, slots: stand_in(rule == BAD)}
    stubs = dataclasses.replace(trained, agent=lambda k, rule, slots: stand_in(False), others=clone)
    config = CONFIG.model_copy(update={"candidate_rules": (GOOD, BAD)})
    assert choose_rule(stubs, SquareSuite(), ("long",), 4, config) == BAD


def test_the_chosen_rule_is_that_of_the_measurement(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def choose(contenders: Contenders, suite: Any, tasks: Any, k: int, config: ReturnsConfig) -> DrawRule:
        asked.update(tasks=tasks, k=k)
        return BAD

    monkeypatch.setattr(returns, "choose_rule", choose)
    config = {"baselines": (), "tasks": ("short",), "prefix_lengths": (1, 2)}
    assert measure(parts, **config).results["rule"] == CONFIG.rule.model_dump() and not asked
    results = measure(parts, **config, candidate_rules=(GOOD, BAD)).results
    assert results["rule"] == BAD.model_dump() and asked == {"tasks": ("short",), "k": 2}


# ---- what cannot be


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returns, "train_contenders", lambda *a: pytest.fail("trained before it was refused"))


def test_a_task_that_is_not_there_is_refused(
    parts: Parts, untrained: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no task 'logn' in both the suite squares.*Did you mean 'long'"):
        measure(parts, tasks=("logn",))

    class More(SquareSuite):
        tasks = ("short", "long", "longer")

    monkeypatch.setattr(returns, "open_suite", lambda name: More())
    with pytest.raises(ConfigError, match="no task 'longer' in both"):
        measure(parts, tasks=("longer",))

    class Less(SquareSuite):
        tasks = ("short",)

    monkeypatch.setattr(returns, "open_suite", lambda name: Less())
    with pytest.raises(ConfigError, match=r"no task 'long' in both.*Known: short\. \(--tasks\)"):
        measure(parts)

    class Elsewhere(SquareSuite):
        tasks = ("far", "away")

    monkeypatch.setattr(returns, "open_suite", lambda name: Elsewhere())
    with pytest.raises(ConfigError, match=r"The suite has away, far; the data hold .*long.*\(--suite\)"):
        measure(parts)


def test_a_rule_that_averages_ways_is_told_of() -> None:
    one, many = ActionSpec(num_choices=(5,)), ActionSpec(num_continuous=2)
    eight = DrawRule()
    assert averages_ways(frame_policy(FlowPolicy), many, eight)
    assert not averages_ways(frame_policy(RegressionPolicy), many, eight), "nothing is drawn"
    for spec, rule in ((one, eight), (None, eight), (many, DrawRule(num_samples=1)), (many, DrawRule(codes="best"))):
        assert not averages_ways(frame_policy(FlowPolicy), spec, rule)


def test_actions_or_frames_that_differ_are_refused(
    parts: Parts, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OtherActions(SquareSuite):
        action_spec = ActionSpec(num_choices=(7,))

    class OtherFrames(SquareSuite):
        frame_shape = (32, 32, 3)

    for other in (OtherActions, OtherFrames):
        monkeypatch.setattr(returns, "open_suite", lambda name, other=other: other())
        with pytest.raises(DataError, match="Act where the data were recorded"):
            measure(parts)


def test_a_k_out_of_range_and_data_without_actions_are_refused(parts: Parts, untrained: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="prefix_length is 5"):
        measure(parts, prefix_lengths=(1, 5))
    bare = random_parts(record_squares(tmp_path, 60, actions=False))
    with pytest.raises(DataError, match="no actions"):
        measure(bare)


def test_settings_that_give_no_standard_error_are_refused() -> None:
    for values in ({"num_episodes": 1}, {"fewer_episodes": {"short": 1}}, {"num_environments": 0}, {"num_workers": 0}):
        with pytest.raises(ConfigError, match="greater than or equal to"):
            ReturnsConfig.parse(values)

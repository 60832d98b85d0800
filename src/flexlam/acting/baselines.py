"""Whom an agent must beat, and who bounds it: recorded behaviours, blind controls, clones."""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from flexlam.acting.collect import Behaviour
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError, did_you_mean
from flexlam.core.seeding import numpy_generator
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.envs.base import Environment
from flexlam.translator.actions import ActionCodec


class Uniform:
    """A behaviour: a new random action at each decision, uniform over what is legal ("random" in reference tables)."""

    def start(self, environment: Environment, generator: np.random.Generator) -> None:
        """Begin an episode."""
        self._generator = generator

    def act(self, environment: Environment) -> np.ndarray:
        """A random action."""
        return environment.sample_action(self._generator)


class _FrameBlindActor:
    """Base of actors that look at no frame: an episode is a stream of actions."""

    def __init__(self) -> None:
        self._episodes: dict[int, Iterator[np.ndarray]] = {}

    def begin(self, slot: int, environment: Environment, seed: int) -> None:
        """An episode starts in a slot."""
        self._episodes[slot] = self._actions(environment, numpy_generator(seed, "actor"))

    def act(self, frames: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Frames (B, H, W, C) uint8, of which only B is read -> actions (B, A) float32.

        Raises:
            ConfigError: no episode has begun in an active slot.
        """
        slots = [int(slot) for slot in np.flatnonzero(active)]
        _require_begun(slots, self._episodes)
        chosen = [next(self._episodes[slot]) for slot in slots]
        actions = np.zeros((len(active), len(chosen[0]) if chosen else 0), np.float32)
        for slot, action in zip(slots, chosen, strict=True):
            actions[slot] = action
        return actions

    def _actions(self, environment: Environment, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """The actions (A,) of an episode, without end."""
        raise NotImplementedError


class BehaviourActor(_FrameBlindActor):
    """Acts as a behaviour of recordings does; the game tells it more than a frame shows."""

    def __init__(self, make_behaviour: Callable[[], Behaviour]) -> None:
        super().__init__()
        self._make_behaviour = make_behaviour

    def _actions(self, environment: Environment, generator: np.random.Generator) -> Iterator[np.ndarray]:
        behaviour = self._make_behaviour()
        behaviour.start(environment, generator)
        while True:
            yield behaviour.act(environment)


class ConstantActor(_FrameBlindActor):
    """Does one thing (A,) for ever."""

    def __init__(self, action: np.ndarray) -> None:
        super().__init__()
        self._action = action

    def _actions(self, environment: Environment, generator: np.random.Generator) -> Iterator[np.ndarray]:
        while True:
            yield self._action


class MarginalActor(_FrameBlindActor):
    """Draws whole action vectors independently from recorded ones (N, A).

    Raises:
        DataError: nothing was recorded.
    """

    def __init__(self, actions: np.ndarray) -> None:
        super().__init__()
        _require_recorded(actions)
        self._recorded = actions

    def _actions(self, environment: Environment, generator: np.random.Generator) -> Iterator[np.ndarray]:
        while True:
            yield self._recorded[generator.integers(len(self._recorded))]


class MarkovActor(_FrameBlindActor):
    """Draws each choice by what followed the previous one in recordings: prev_action, action (N, 1).

    An episode begins with what followed the rows of NaN, its start. Frequencies are not smoothed, so that nothing is
    done which was never recorded; after a choice that nothing followed, the next is drawn from all recorded ones.

    Raises:
        ConfigError: an action is not a single choice.
        DataError: nothing was recorded.
    """

    def __init__(self, prev_action: np.ndarray, action: np.ndarray, spec: ActionSpec) -> None:
        super().__init__()
        require_single_choice(spec)
        _require_recorded(action)
        self._start = spec.num_choices[0]
        before = np.where(np.isnan(prev_action), self._start, prev_action)[:, 0].astype(int)
        counts = np.zeros((self._start + 1, self._start))
        np.add.at(counts, (before, action[:, 0].astype(int)), 1)
        unseen = counts.sum(1) == 0
        counts[unseen] = counts.sum(0)
        self._table = counts / counts.sum(1, keepdims=True)
        """(choices + 1, choices); the last row is the episode's start."""

    def _actions(self, environment: Environment, generator: np.random.Generator) -> Iterator[np.ndarray]:
        state = self._start
        while True:
            state = int(generator.choice(self._start, p=self._table[state]))
            yield np.array([state], np.float32)


class ScoresActions(Protocol):
    """A policy from the two newest frames, such as `flexlam.training.cloning.Clone`."""

    @property
    def codec(self) -> ActionCodec:
        """What the scores mean."""

    def scores(self, prev_frames: Tensor, frames: Tensor) -> Tensor:
        """Frames (B, H, W, C) uint8 -> scores (B, O) float32 on the CPU."""


class CloningActor:
    """Acts by the scores of a clone: choices drawn at a temperature (0 takes the best), continuous dimensions the mean.

    All slots go through one forward pass, active or not, so the size of the batch is always the same.
    """

    def __init__(self, clone: ScoresActions, num_slots: int, temperature: float = 0.5) -> None:
        if temperature < 0:
            raise ConfigError(f"The temperature is {temperature:g}; expected 0 (the best choice) or more.")
        self._clone, self._num_slots, self._temperature = clone, num_slots, temperature
        self._generators: dict[int, np.random.Generator] = {}
        self._previous: dict[int, np.ndarray] = {}

    def begin(self, slot: int, environment: Environment, seed: int) -> None:
        """An episode starts in a slot.

        Raises:
            ConfigError: there is no such slot.
            DataError: the environment takes other actions than the clone has learned.
        """
        if not 0 <= slot < self._num_slots:
            raise ConfigError(f"There is no slot {slot}; this actor was made for the slots 0 .. {self._num_slots - 1}.")
        if environment.action_spec != self._clone.codec.spec:
            raise DataError(
                f"The environment takes actions {environment.action_spec}; the clone has learned "
                f"{self._clone.codec.spec}. Let it act in the suite that its data were recorded in."
            )
        self._generators[slot] = numpy_generator(seed, "actor")
        self._previous.pop(slot, None)

    def act(self, frames: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Newest frames (B, H, W, C) uint8 -> actions (B, A) float32.

        Raises:
            DataError: frames of another number of slots.
            ConfigError: no episode has begun in an active slot.
        """
        if len(frames) != self._num_slots:
            raise DataError(f"Got frames of {len(frames)} slots; this actor was made for {self._num_slots}.")
        slots = [int(slot) for slot in np.flatnonzero(active)]
        _require_begun(slots, self._generators)
        previous = np.stack([self._previous.get(slot, frame) for slot, frame in enumerate(frames)])
        scores = self._clone.scores(torch.from_numpy(previous), torch.from_numpy(frames))
        for slot in slots:
            self._previous[slot] = frames[slot].copy()
        actions: np.ndarray = self._clone.codec.draw(scores, self._numbers(slots), self._temperature).numpy()
        return actions

    def _numbers(self, slots: list[int]) -> Tensor:
        """A uniform number (B, choices) for each choice in the given slots."""
        numbers = torch.zeros(self._num_slots, len(self._clone.codec.spec.num_choices))
        for slot in slots:
            numbers[slot] = torch.from_numpy(self._generators[slot].random(numbers.shape[1]))
        return numbers


def recorded_actions(store: FrameStore, index: TransitionIndex, task: str) -> tuple[np.ndarray, np.ndarray]:
    """prev_action (NaN where an episode starts) and action (N, A) of all transitions of a task.

    Raises:
        ConfigError: there is no such task.
        DataError: the store holds no actions.
    """
    if task not in index.tasks:
        raise ConfigError(f"There is no task {task!r} in {store.path}. {did_you_mean(task, index.tasks)}")
    if store.actions is None:
        raise DataError(
            f"{store.path} holds no actions, and blind controls draw from recorded ones. Record with actions."
        )
    rows = index.task == index.tasks.index(task)
    before = store.actions[index.previous[rows]]
    before[index.previous[rows] < 0] = np.nan
    return before, store.actions[index.first[rows]]


def is_single_choice(spec: ActionSpec) -> bool:
    """Whether an action is one choice and nothing else."""
    return len(spec.num_choices) == 1 and not spec.num_continuous


def require_single_choice(spec: ActionSpec) -> None:
    """Refuse actions of which no Markov chain is made.

    Raises:
        ConfigError: an action is not a single choice.
    """
    if not is_single_choice(spec):
        raise ConfigError(
            f"A Markov chain needs actions of a single choice; these have {len(spec.num_choices)} choices and "
            f'{spec.num_continuous} continuous values. Leave "markov" out of the baselines: name the others, say '
            "--baselines random constant marginal cloning_same_labels."
        )


def _require_begun(slots: list[int], begun: object) -> None:
    missing = [slot for slot in slots if slot not in begun]  # type: ignore[operator]
    if missing:
        raise ConfigError(
            f"No episode has begun in the slot(s) {', '.join(map(str, missing))}. "
            "Call `begin(slot, environment, seed)` after every reset."
        )


def _require_recorded(actions: np.ndarray) -> None:
    if not len(actions):
        raise DataError("A blind control needs recorded actions to draw from; got none.")

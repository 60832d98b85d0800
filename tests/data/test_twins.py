import dataclasses

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.core.extras import ENDOGENOUS_STATE
from flexlam.data.twins import check_twins
from moving_square import DISCRETE


@pytest.fixture
def twin(make_episode, memory_reader, build):
    """A store whose frames are lighter by `shade`, with the change that `edit(number, episode)` makes."""

    def make(name, shade=0, edit=lambda number, episode: episode, lengths=(5, 4, 6), spec=DISCRETE):
        episodes = []
        for number, length in enumerate(lengths):
            episode = make_episode(length, number, spec, task="ab"[number % 2])
            state = np.arange(2 * length, dtype=np.float32).reshape(length, 2)
            columns = dataclasses.replace(episode.columns, extras={ENDOGENOUS_STATE: state})
            frames = episode.frames.copy()
            frames[:, -1] += np.uint8(shade)
            episodes.append(edit(number, dataclasses.replace(episode, frames=frames, columns=columns)))
        return build(memory_reader(episodes, spec), name)[0]

    return make


def with_columns(number, **changes):
    """An edit of one episode's columns; each change is a function of the column."""

    def edit(index, episode):
        if index != number:
            return episode
        changed = {name: change(getattr(episode.columns, name)) for name, change in changes.items()}
        return dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, **changed))

    return edit


def moved(values):
    values = values.copy()
    values[2] = (values[2] + 1) % 5
    return values


def test_the_same_games_under_other_backgrounds_are_twins(twin):
    check_twins(twin("a"), twin("b", shade=9))


def test_a_single_other_pixel_is_enough(twin):
    def edit(number, episode):
        frames = episode.frames.copy()
        frames[-1, 0, 0, 0] += np.uint8(number == 2)
        return dataclasses.replace(episode, frames=frames)

    check_twins(twin("a"), twin("b", edit=edit))


def test_a_recording_is_not_its_own_twin(twin):
    with pytest.raises(DataError, match=r"no twins: all their frames are identical.*--overlay-seed"):
        check_twins(twin("a"), twin("b"))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (with_columns(1, actions=moved), "the action of episode 1, step 2, is"),
        (with_columns(2, rewards=moved), "the reward of episode 2, step 2, is"),
        (
            with_columns(0, extras=lambda extras: {name: moved(values) for name, values in extras.items()}),
            r"the endogenous state of episode 0, step 2, is \[4.0, 5.0\] in one and \[0.0, 1.0\] in the other; 7% of",
        ),
        (lambda number, episode: dataclasses.replace(episode, task="c"), "episode 0 has the task a in one and c in"),
    ],
)
def test_what_differs_is_named_with_its_place(twin, edit, reason):
    with pytest.raises(DataError, match=reason):
        check_twins(twin("a"), twin("b", shade=9, edit=edit))


def test_other_numbers_of_episodes_and_frames_are_no_twins(twin):
    first = twin("a")
    with pytest.raises(DataError, match="3 and 2 episodes"):
        check_twins(first, twin("b", shade=9, lengths=(5, 4)))
    with pytest.raises(DataError, match="episode 1 has the length 4 in one and 7 in the other"):
        check_twins(first, twin("c", shade=9, lengths=(5, 7, 6)))


def test_states_of_other_widths_are_no_twins(twin):
    def edit(number, episode):
        extras = {ENDOGENOUS_STATE: np.zeros((len(episode.frames), 3))}
        return dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, extras=extras))

    with pytest.raises(DataError, match=r"an endogenous state has the shapes \(2,\) and \(3,\)"):
        check_twins(twin("a"), twin("b", shade=9, edit=edit))


def test_without_actions_the_states_decide_and_without_either_nothing_can(twin):
    def bare(number, episode):
        return dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, extras={}))

    check_twins(twin("a", spec=None), twin("b", shade=9, spec=None))
    check_twins(twin("c", edit=bare), twin("d", shade=9))
    with pytest.raises(DataError, match="neither actions nor endogenous states"):
        check_twins(twin("e", spec=None, edit=bare), twin("f", shade=9, spec=None))

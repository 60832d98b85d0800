"""Extras of stores and mixtures: what comes back, what is left out, and what the hashes say."""

import dataclasses
import json

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.data.mixture import mix
from flexlam.data.readers import open_dataset
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.data.store_reader import StoreReader

HASH_BEFORE_EXTRAS = "b853a1009551877e"
"""Content hash of the store of `bare` episodes, as it was when stores kept no extras."""


@pytest.fixture
def with_extras(make_episode):
    """Episodes of 5, 3 and 4 frames with these extras: extras(length) -> dictionary."""

    def make(extras, lengths=(5, 3, 4), first_seed=0):
        episodes = [make_episode(length, first_seed + i) for i, length in enumerate(lengths)]
        return [
            dataclasses.replace(episode, columns=dataclasses.replace(episode.columns, extras=extras(i, length)))
            for i, (episode, length) in enumerate(zip(episodes, lengths, strict=True))
        ]

    return make


def counted(number, length):
    """Two extras whose numbers tell episode, frame and place; one of them a matrix of whole numbers."""
    frames = np.arange(length)[:, None]
    return {"state": (100 * number + frames + [0.25, 0.5]).astype(np.float32), "grid": np.full((length, 2, 2), number)}


def nothing(number, length):
    return {}


def test_extras_come_back_as_vectors_by_name(with_extras, memory_reader, build):
    store, report = build(memory_reader(with_extras(counted)))
    assert dict(report.lost_extras) == {} and store.manifest.extras == {"grid": 4, "state": 2}
    assert list(store.extras) == ["grid", "state"] and len(store.extras) == 2 and "state" in store.extras
    state, grid = store.extras["state"], store.extras["grid"]
    assert state.dtype == grid.dtype == np.float32 and state.shape == (12, 2) and grid.shape == (12, 4)
    expected = [100 * i + t for i, length in enumerate((5, 3, 4)) for t in range(length)]
    assert np.array_equal(state, np.array(expected)[:, None] + [0.25, 0.5])
    assert grid[:, 3].tolist() == [0] * 5 + [1] * 3 + [2] * 4
    assert store.extras["state"] is state
    with pytest.raises(KeyError):
        store.extras["other"]
    store.verify()
    reader = StoreReader(store.path)
    assert np.array_equal(reader.columns(reader.episodes()[1]).extras["state"], state[5:8])
    assert store.about()["extras"] == {"grid": 4, "state": 2}


def test_a_store_without_extras_has_the_hash_that_it_always_had(with_extras, memory_reader, build):
    bare, _ = build(memory_reader(with_extras(nothing)), "bare")
    assert bare.content_hash == HASH_BEFORE_EXTRAS
    assert dict(bare.extras) == {} and "extras" not in bare.about()
    rich, _ = build(memory_reader(with_extras(counted)), "rich")
    assert rich.content_hash != bare.content_hash


def test_the_hash_depends_on_every_number_of_an_extra_and_on_its_name(with_extras, memory_reader, build):
    def changed(number, length):
        extras = counted(number, length)
        extras["state"][-1, -1] += number == 2
        return extras

    def renamed(number, length):
        extras = counted(number, length)
        return {"other": extras["state"], "grid": extras["grid"]}

    stores = [build(memory_reader(with_extras(e)), e.__name__)[0] for e in (counted, changed, renamed)]
    assert len({store.content_hash for store in stores}) == 3


def test_a_store_of_before_there_were_extras_is_read(with_extras, memory_reader, build):
    store, _ = build(memory_reader(with_extras(nothing)))
    values = json.loads((store.path / "manifest.json").read_text())
    del values["extras"]
    (store.path / "manifest.json").write_text(json.dumps(values))
    old = FrameStore.open(store.path)
    assert dict(old.extras) == {}
    old.verify()


def test_extras_that_episodes_do_not_share_are_left_out_and_no_episode_is(with_extras, memory_reader, build):
    def uneven(number, length):
        widths = {"state": np.zeros((length, 2 + (number == 2))), "all": np.ones((length, 1))}
        return widths | ({"first": np.ones((length, 1))} if number == 0 else {})

    store, report = build(memory_reader(with_extras(uneven)))
    assert store.num_episodes == 3 and list(store.extras) == ["all"]
    assert report.lost_extras == {
        "first": "episode 0 has 1 numbers a frame, episode 1 lacks it",
        "state": "episode 0 has 2 numbers a frame, episode 2 has 3",
    }
    store.verify()


def test_an_episode_whose_extras_do_not_fit_its_frames_is_left_out(with_extras, memory_reader, build):
    store, report = build(memory_reader(with_extras(lambda i, n: {"state": np.zeros((n - (i == 1), 2))})))
    assert store.num_episodes == 2 and "2 rows of the extra 'state' for 3 frames" in report.skipped[0].reason


def test_a_damaged_extra_fails_verification(with_extras, memory_reader, build):
    import pyarrow.parquet as pq

    store, _ = build(memory_reader(with_extras(counted)), "a")
    other, _ = build(memory_reader(with_extras(lambda i, n: {**counted(i, n), "state": np.zeros((n, 2))})), "b")
    pq.write_table(pq.read_table(other.path / "index.parquet"), store.path / "index.parquet")
    with pytest.raises(DataError, match="content hashes to"):
        FrameStore.open(store.path).verify()
    index = pq.read_table(store.path / "index.parquet").drop_columns("extras.state")
    pq.write_table(index, store.path / "index.parquet")
    with pytest.raises(DataError, match=r"index\.parquet is missing or damaged"):
        FrameStore.open(store.path).extras["state"]


def test_thinned_frames_keep_their_own_extras(with_extras, memory_reader, build):
    store, _ = build(memory_reader(with_extras(counted, lengths=(9, 9))), frame_gap=3 / 8.75)
    assert store.extras["state"][:, 0].tolist() == [0.25, 3.25, 6.25, 100.25, 103.25, 106.25]


def test_recorded_extras_reach_the_store(moving_square_dataset, tmp_path):
    dataset = moving_square_dataset()
    build_store(open_dataset(dataset.path), tmp_path / "store", announce=lambda _: None)
    told = np.concatenate([episode.columns.extras["position"].reshape(-1, 4) for episode in dataset.episodes])
    assert np.array_equal(FrameStore.open(tmp_path / "store").extras["position"], told)


def test_a_mixture_has_the_extras_that_its_stores_share(with_extras, memory_reader, build, tmp_path):
    def other(number, length):
        return {"state": counted(number, length)["state"], "grid": np.zeros((length, 1)), "own": np.zeros((length, 1))}

    stores = [build(memory_reader(with_extras(e)), name)[0] for e, name in ((counted, "a"), (other, "b"))]
    mixture = mix([store.path for store in stores], tmp_path / "mixture")
    assert list(mixture.extras) == ["state"]
    assert np.array_equal(mixture.extras["state"], np.concatenate([store.extras["state"] for store in stores]))
    mixture.verify()

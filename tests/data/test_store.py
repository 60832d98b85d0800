import json
import pickle

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.data.store import FrameStore


@pytest.fixture
def episodes(make_episode):
    return [make_episode(n, i, task="ab"[i % 2]) for i, n in enumerate((5, 3, 8))]


def edit_manifest(path, **changes):
    values = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(values | changes))


@pytest.mark.parametrize("codec", ["raw", "webp"])
@pytest.mark.parametrize("shard_bytes", [2_000_000_000, 2_000])
def test_everything_comes_back_exactly(episodes, memory_reader, build, codec, shard_bytes):
    store, _ = build(memory_reader(episodes), codec=codec, shard_bytes=shard_bytes)
    frames = np.concatenate([e.frames for e in episodes])
    assert np.array_equal(store.frames(np.arange(16)), frames)
    assert np.array_equal(store.actions, np.concatenate([e.columns.actions for e in episodes]))
    assert np.array_equal(store.rewards, np.concatenate([e.columns.rewards for e in episodes]))
    assert np.array_equal(store.times, np.concatenate([e.columns.times for e in episodes]))
    assert store.episodes.starts.tolist() == [0, 5, 8] and store.episodes.lengths.tolist() == [5, 3, 8]
    assert (store.num_frames, store.num_episodes, store.tasks) == (16, 3, ("a", "b"))
    store.verify()


def test_the_content_hash_depends_on_content_and_order_but_not_on_a_lossless_codec(episodes, memory_reader, build):
    first = build(memory_reader(episodes), "a")[0].content_hash
    assert first == build(memory_reader(episodes), "b", codec="webp", shard_bytes=2_000)[0].content_hash
    assert first != build(memory_reader(episodes[::-1]), "c")[0].content_hash
    episodes[1].columns.actions[0] += 1 if episodes[1].columns.actions[0] < 4 else -1
    assert first != build(memory_reader(episodes), "d")[0].content_hash


def test_positions_outside_are_refused(episodes, memory_reader, build):
    store, _ = build(memory_reader(episodes))
    for bad in (-1, 16):
        with pytest.raises(DataError, match=r"0 \.\. 15"):
            store.frames(np.array([0, bad]))


def test_a_store_without_actions_has_none(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(4, 0, None)], spec=None))
    assert store.actions is None and store.action_spec is None


def test_a_store_survives_pickling(episodes, memory_reader, build):
    store, _ = build(memory_reader(episodes))
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.frames(np.array([3])), store.frames(np.array([3])))


def test_what_is_no_store_is_explained(tmp_path):
    with pytest.raises(DataError, match="There is nothing"):
        FrameStore.open(tmp_path / "missing")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        FrameStore.open(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "flexlam-frame-store", "format_version": 2}'])
def test_a_damaged_manifest_is_named(episodes, memory_reader, build, content):
    store, _ = build(memory_reader(episodes))
    (store.path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json is missing or damaged"):
        FrameStore.open(store.path)


def test_other_format_versions_are_refused(episodes, memory_reader, build):
    store, _ = build(memory_reader(episodes))
    edit_manifest(store.path, format_version=1)
    with pytest.raises(DataError, match="version 1; version 2 is supported"):
        FrameStore.open(store.path)
    edit_manifest(store.path, format_version=2, format="something else")
    with pytest.raises(DataError, match="something else"):
        FrameStore.open(store.path)


def test_a_truncated_shard_is_noticed_on_opening(episodes, memory_reader, build):
    store, _ = build(memory_reader(episodes))
    shard = store.path / "frames-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated or damaged"):
        FrameStore.open(store.path)


@pytest.mark.parametrize("name", ["index.parquet", "episodes.parquet"])
def test_a_damaged_table_is_named(episodes, memory_reader, build, name):
    store, _ = build(memory_reader(episodes))
    (store.path / name).write_bytes(b"PAR1")
    with pytest.raises(DataError, match=name):
        FrameStore.open(store.path)


def test_parts_of_different_stores_do_not_fit_together(episodes, memory_reader, build):
    store, _ = build(memory_reader(episodes), "a")
    other, _ = build(memory_reader(episodes[:2]), "b")
    (store.path / "index.parquet").write_bytes((other.path / "index.parquet").read_bytes())
    with pytest.raises(DataError, match="does not fit together"):
        FrameStore.open(store.path)


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_a_flipped_bit_fails_verification(episodes, memory_reader, build, codec):
    store, _ = build(memory_reader(episodes), codec=codec)
    store.verify()
    shard = store.path / "frames-00000.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match="content hashes to"):
        FrameStore.open(store.path).verify()

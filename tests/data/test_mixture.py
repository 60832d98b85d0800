import json
import pickle
import shutil

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, OutputError
from flexlam.data.inspect import check, describe
from flexlam.data.mixture import Mixture, mix, open_frames
from flexlam.data.splits import split_episodes
from flexlam.data.transitions import TransitionIndex
from flexlam.training.pairs import FrameRecord, PairConfig, load_pairs
from moving_square import CONTINUOUS


@pytest.fixture
def stores(make_episode, memory_reader, build):
    """Two stores: "small" of 4 episodes and "large" of 12, both of task a and b."""

    def make(name, count, first_seed):
        episodes = [make_episode(5 + i % 3, first_seed + i, task="ab"[i % 2]) for i in range(count)]
        return build(memory_reader(episodes), name)[0]

    return make("small", 8, 0), make("large", 14, 50)


@pytest.fixture
def mixture(stores, tmp_path):
    return mix([store.path for store in stores], tmp_path / "mixture", (3, 1))


def test_a_mixture_holds_its_stores_one_after_the_other(stores, mixture):
    small, large = stores
    for what in ("times", "actions", "rewards"):
        assert np.array_equal(getattr(mixture, what), np.concatenate([getattr(small, what), getattr(large, what)]))
    both = np.concatenate([store.frames(np.arange(store.num_frames)) for store in stores])
    order = np.random.default_rng(0).permutation(mixture.num_frames)
    assert np.array_equal(mixture.frames(order), both[order])
    assert mixture.frames(np.zeros(0, np.int64)).shape == (0, *small.frame_shape)
    assert mixture.tasks == ("small/a", "small/b", "large/a", "large/b")
    assert mixture.episodes.names[8] == "large/episode 0"
    assert mixture.episodes.starts[8] == small.num_frames
    mixture.verify()
    with pytest.raises(DataError, match="were asked for"):
        mixture.frames(np.array([mixture.num_frames]))


def test_a_mixture_survives_pickling_and_moving_with_its_stores(mixture, stores, tmp_path):
    again = pickle.loads(pickle.dumps(mixture))
    assert np.array_equal(again.frames(np.array([60])), mixture.frames(np.array([60])))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("small", "large", "mixture"):
        (tmp_path / name).rename(moved / name)
    assert open_frames(moved / "mixture").content_hash == mixture.content_hash


def test_episodes_are_divided_as_their_stores_are(mixture, stores):
    together = split_episodes(mixture, seed=5)
    small, large = (split_episodes(store, seed=5) for store in stores)
    for part in ("train", "validation", "test"):
        shifted = [8 + episode for episode in getattr(large, part)]
        assert getattr(together, part) == (*getattr(small, part), *shifted)


def test_batches_have_the_shares_of_the_weights(mixture):
    pairs = load_pairs(mixture.path, PairConfig())
    sampler = pairs.sampler(16, seed=0)
    rows = np.concatenate([sampler.rows(step) for step in range(50)])
    assert np.mean(pairs.train.episode[rows] < 8) == 0.75
    assert set(rows.tolist()) == set(range(len(pairs.train)))


def test_weights_are_numbers_of_frames_by_default(stores, tmp_path):
    mixture = mix([store.path for store in stores], tmp_path / "mixture")
    assert mixture.weights == tuple(float(store.num_frames) for store in stores)


def test_the_hash_depends_on_stores_and_weights(stores, mixture, tmp_path):
    paths = [store.path for store in stores]
    assert mix(paths, tmp_path / "same", (3, 1)).content_hash == mixture.content_hash
    assert mix(paths, tmp_path / "other", (1, 1)).content_hash != mixture.content_hash
    assert mix(paths[::-1], tmp_path / "turned", (1, 3)).content_hash != mixture.content_hash


def test_stores_that_disagree_about_actions_have_none_together(stores, make_episode, memory_reader, build, tmp_path):
    episodes = [make_episode(5, i, CONTINUOUS) for i in range(4)]
    continuous = build(memory_reader(episodes, CONTINUOUS), "continuous")[0]
    mixture = mix([stores[0].path, continuous.path], tmp_path / "mixture")
    assert mixture.action_spec is None and mixture.actions is None
    assert TransitionIndex.build(mixture).batch(mixture, np.array([0, 30])).action is None


def test_a_gap_in_steps_is_told_to_differ_where_frame_rates_do(stores, make_episode, memory_reader, build, tmp_path):
    reader = memory_reader([make_episode(6, i, fps=2.0) for i in range(4)])
    reader.info = reader.info.__class__(**{**vars(reader.info), "fps": 2.0})
    slow = build(reader, "slow")[0]
    mixture = mix([stores[0].path, slow.path], tmp_path / "mixture")
    assert mixture.rates == (2.0, stores[0].fps)
    assert "a step lasts 0.11 to 0.5 seconds" in load_pairs(mixture.path, PairConfig()).describe()
    assert "a step lasts" not in load_pairs(mixture.path, PairConfig(gap_seconds=0.5)).describe()
    assert any("frame rates differ: 2, 8.75 a second" in row.what for row in check(mixture.path).rows)
    both = (stores[0].num_frames / stores[0].fps, slow.num_frames / 2.0)
    assert describe(mixture.path)["seconds"] == pytest.approx(sum(both))
    assert FrameRecord.of(mixture).fps is None and FrameRecord.of(stores[0]).fps == stores[0].fps


def test_info_and_check_take_a_mixture(mixture):
    about = describe(mixture.path)
    assert about["format"] == "mixture" and about["stores"]["small"]["share"] == 0.75
    assert about["num_episodes"] == 22 and about["stores"]["large"]["fit"] == "stretch"
    assert not [row for row in check(mixture.path).rows if row.severity == "error"]


def test_a_store_that_was_built_anew_is_noticed(mixture, make_episode, memory_reader, build):
    shutil.rmtree(mixture.members[0].path)
    build(memory_reader([make_episode(5, i) for i in range(4)]), "small")
    with pytest.raises(DataError, match=r"mixture .* was made when"):
        open_frames(mixture.path)


def test_a_store_that_is_gone_is_named(mixture, tmp_path):
    (tmp_path / "small").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"The store small of the mixture .* There is nothing at .* put it back"):
        open_frames(mixture.path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "x", "format_version": 1, "stores": []}'])
def test_a_damaged_mixture_is_named(mixture, content):
    (mixture.path / "mixture.json").write_text(content)
    with pytest.raises(DataError, match=r"mixture\.json is missing or damaged"):
        open_frames(mixture.path)


def test_another_version_is_refused(mixture):
    file = mixture.path / "mixture.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": 2}))
    with pytest.raises(DataError, match="version 2"):
        open_frames(mixture.path)


def test_what_cannot_be_mixed_is_refused(stores, mixture, make_episode, memory_reader, build, tmp_path):
    small, large = (store.path for store in stores)
    out = tmp_path / "new"
    with pytest.raises(ConfigError, match="Name the stores"):
        mix([], out)
    with pytest.raises(ConfigError, match=r"--weights has 3 value\(s\) for 2"):
        mix([small, large], out, (1, 2, 3))
    with pytest.raises(ConfigError, match=r"weights are 1, 0; each has to be above 0"):
        mix([small, large], out, (1, 0))
    with pytest.raises(ConfigError, match="different --names"):
        mix([small, small], out)
    with pytest.raises(ConfigError, match="is a mixture itself"):
        mix([small, mixture.path], out)
    with pytest.raises(ConfigError, match="holds a store of the mixture"):
        mix([small, large], small, overwrite=True)
    build(memory_reader([make_episode(5, i, size=24) for i in range(4)]), "bigger")
    with pytest.raises(DataError, match="small 16 x 16 x 3, bigger 24 x 24 x 3"):
        mix([small, tmp_path / "bigger"], out)
    with pytest.raises(OutputError, match="already holds something"):
        mix([small, large], mixture.path)
    assert not out.exists()
    assert isinstance(mix([small, small], out, names=("one", "two")), Mixture)

import numpy as np
import pyarrow.parquet as pq
import pytest

from flexlam.core.errors import ConfigError, DataError
from flexlam.data.labels import LabelBudget, LabelSet, choose_labels, is_label_set
from flexlam.data.transitions import TransitionIndex


@pytest.fixture
def data(make_episode, memory_reader, build):
    episodes = [make_episode(20, i, size=8, task="ab"[i % 2]) for i in range(6)]
    store, _ = build(memory_reader(episodes))
    return store, TransitionIndex.build(store, episodes=[0, 1, 4, 5])


def test_labels_come_from_the_given_episodes_once_each_with_their_actions(data):
    store, index = data
    labels = choose_labels(index, store, LabelBudget(count=30), seed=0)
    assert len(labels) == len(set(labels.rows.tolist())) == 30
    assert set(labels.episode.tolist()) <= {0, 1, 4, 5}
    assert np.array_equal(labels.actions, store.actions[index.first[labels.rows]])
    assert np.array_equal(labels.episode, index.episode[labels.rows])
    assert np.array_equal(labels.step, index.step[labels.rows])


def test_seed_and_draw_name_the_choice_and_larger_budgets_contain_smaller_ones(data):
    store, index = data

    def rows(count, seed, draw):
        return choose_labels(index, store, LabelBudget(count=count), seed, draw).rows.tolist()

    assert rows(9, 0, 0) == rows(9, 0, 0)
    assert rows(9, 0, 0) != rows(9, 0, 1) and rows(9, 0, 0) != rows(9, 1, 0)
    assert rows(20, 0, 0)[:9] == rows(9, 0, 0)


def test_every_transition_is_equally_likely(data):
    store, index = data
    counts = np.zeros(len(index))
    for draw in range(400):
        counts[choose_labels(index, store, LabelBudget(count=19), 0, draw).rows] += 1
    # 76 transitions, each drawn with probability 1/4: mean 100, standard deviation below 9.
    assert abs(counts.mean() - 100) < 1e-9 and counts.min() > 60 and counts.max() < 140


def test_a_fraction_and_a_narrow_source(data):
    store, index = data
    assert len(choose_labels(index, store, LabelBudget(fraction=0.5), 0)) == 38
    narrow = choose_labels(index, store, LabelBudget(fraction=0.5, task="b"), 0)
    assert len(narrow) == 19 and set(narrow.episode.tolist()) == {1, 5}
    with pytest.raises(ConfigError, match="Did you mean 'b'"):
        choose_labels(index, store, LabelBudget(count=1, task="bb"), 0)


def test_more_labels_than_there_are_is_an_error(data):
    store, index = data
    assert len(choose_labels(index, store, LabelBudget(count=76), 0)) == 76
    with pytest.raises(DataError, match="77 labels were asked for, but there are only 76"):
        choose_labels(index, store, LabelBudget(count=77), 0)
    with pytest.raises(DataError, match="only 38 training transitions of the task 'a'"):
        choose_labels(index, store, LabelBudget(count=77, task="a"), 0)


@pytest.mark.parametrize("values", [{}, {"count": 3, "fraction": 0.1}, {"count": 0}, {"fraction": 1.5}])
def test_a_budget_has_exactly_one_size(values):
    with pytest.raises(ConfigError):
        LabelBudget.parse(values)


def test_a_store_without_actions_cannot_be_labelled(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(9, 0, None)], spec=None))
    with pytest.raises(DataError, match="no actions"):
        choose_labels(TransitionIndex.build(store), store, LabelBudget(count=1), 0)


def test_labels_are_saved_and_found_again(tmp_path, data):
    store, index = data
    labels = choose_labels(index, store, LabelBudget(count=12, task="a"), 5, 2)
    labels.save(tmp_path / "labels.parquet")
    pq.write_table(pq.read_table(tmp_path / "labels.parquet").replace_schema_metadata(), tmp_path / "by-hand.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    assert is_label_set(tmp_path / "labels.parquet")
    assert not any(is_label_set(tmp_path / name) for name in ("by-hand.parquet", "damaged.parquet", "labels.csv"))
    columns = pq.read_table(tmp_path / "labels.parquet").column_names
    assert columns == ["episode", "step", "action_0"]
    again = LabelSet.load(tmp_path / "labels.parquet", index)
    assert np.array_equal(again.rows, labels.rows) and np.array_equal(again.actions, labels.actions)
    assert (again.seed, again.draw, again.budget, again.data_hash) == (
        5,
        2,
        labels.budget,
        store.content_hash,
    )
    wider = TransitionIndex.build(store)
    moved = LabelSet.load(tmp_path / "labels.parquet", wider)
    assert np.array_equal(wider.first[moved.rows], index.first[labels.rows])


def test_labels_of_other_data_or_other_episodes_are_refused(tmp_path, data, make_episode, memory_reader, build):
    store, index = data
    choose_labels(index, store, LabelBudget(count=76), 0).save(tmp_path / "labels.parquet")
    with pytest.raises(DataError, match="not among the transitions"):
        LabelSet.load(tmp_path / "labels.parquet", TransitionIndex.build(store, episodes=[0]))
    other, _ = build(memory_reader([make_episode(9, 3)]), "other")
    with pytest.raises(DataError, match="the transitions are of"):
        LabelSet.load(tmp_path / "labels.parquet", TransitionIndex.build(other))


def test_what_is_no_label_set_is_explained(tmp_path, data):
    store, index = data
    for content in (None, b"PAR1", (store.path / "index.parquet").read_bytes()):
        if content is not None:
            (tmp_path / "labels.parquet").write_bytes(content)
        with pytest.raises(DataError, match="no usable set of labels"):
            LabelSet.load(tmp_path / "labels.parquet", index)

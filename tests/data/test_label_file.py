import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexlam.core.errors import DataError
from flexlam.data.label_file import read_labels
from flexlam.data.transitions import TransitionIndex


@pytest.fixture
def plain(make_episode, memory_reader, build):
    """A store without actions: episodes of 10, 12 and 6 frames at 8.75 a second."""
    episodes = [make_episode(n, i, None) for i, n in enumerate((10, 12, 6))]
    store, _ = build(memory_reader(episodes, None))
    return store, TransitionIndex.build(store)


def write(tmp_path, text, name="labels.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_words_are_choices_and_times_find_the_nearest_frame(tmp_path, plain):
    store, index = plain
    text = "path,time,action\nepisode 0,0.0,left\nepisode 1,0.35,right\nepisode 2,0.11,left\n"
    labels = read_labels(write(tmp_path, text), store, index)
    assert labels.spec.num_choices == (2,) and labels.spec.names == ("left", "right")
    assert labels.actions[:, 0].tolist() == [0, 1, 0]
    assert [(int(index.episode[row]), int(index.step[row])) for row in labels.rows] == [(0, 0), (1, 3), (2, 1)]


def test_frames_and_whole_numbers(tmp_path, plain):
    store, index = plain
    labels = read_labels(write(tmp_path, "Episode, Frame ,action\nepisode 1,4,0\nepisode 1,5,3\n"), store, index)
    assert labels.spec.num_choices == (4,) and labels.actions[:, 0].tolist() == [0, 3]
    assert index.step[labels.rows].tolist() == [4, 5]


def test_several_columns_of_numbers_are_continuous(tmp_path, plain):
    store, index = plain
    table = pa.table({"path": ["episode 0", "episode 2"], "frame": [1, 2], "dx": [0.5, 1], "dy": [2.0, 3.0]})
    pq.write_table(table, tmp_path / "labels.parquet")
    labels = read_labels(tmp_path / "labels.parquet", store, index)
    assert labels.spec.num_continuous == 2 and labels.spec.names == ("dx", "dy")
    assert np.array_equal(labels.actions, np.array([[0.5, 2], [1, 3]], np.float32))


HEAD = "path,time,action\nepisode 0,0,left\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be read"),
        ("path,time,action\n", "holds no label"),
        ("time,action\n0,left\n", "no column 'path' or 'episode'"),
        ("path,action\nepisode 0,left\n", "no column 'frame' or 'step'"),
        ("path,time\nepisode 0,0\n", "no column of actions"),
        (HEAD + "episode 9,0,right\n", r"line 3: there is no episode 'episode 9'. Did you mean"),
        (HEAD + "episode 0,soon,right\n", "'time' must hold a number"),
        (HEAD + "episode 0,7.5,right\n", r"line 3: no transition of 'episode 0' begins near 7.5 s; .* 0 to 0.914"),
        (HEAD + "episode 0,0.01,right\n", "line 3 labels a transition that has a label already"),
        (HEAD + "episode 1,0,left\n", "every label is the same action"),
        (HEAD + "episode 1,0,\n", "'action' is empty in some rows"),
        ("path,frame,action\nepisode 0,0,1\nepisode 0,9,0\n", "begins at frame 9; they begin at 0 to 8"),
        ("path,frame,action\nepisode 0,0,-1\nepisode 0,1,0\n", "one of them is negative"),
        ("path,frame,a,b\nepisode 0,0,x,1\nepisode 0,1,y,2\n", "words can name the choices of a single column"),
        ("path,frame,a\nepisode 0,0,0.5\nepisode 0,1,inf\n", "NaN or infinite"),
    ],
)
def test_what_is_wrong_with_labels_is_told(tmp_path, plain, text, told):
    with pytest.raises(DataError, match=told):
        read_labels(write(tmp_path, text), *plain)


def test_other_files_are_refused(tmp_path, plain):
    with pytest.raises(DataError, match="no file of labels"):
        read_labels(tmp_path / "none.csv", *plain)
    with pytest.raises(DataError, match=r"neither \.csv nor \.parquet"):
        read_labels(write(tmp_path, HEAD, "labels.txt"), *plain)


def test_choices_that_differ_in_their_capitals_alone_are_refused(tmp_path, plain):
    text = "path,frame,action\nepisode 0,0,left\nepisode 0,1,right\nepisode 0,2,Right\n"
    with pytest.raises(DataError, match="'Right' and 'right' would be two actions"):
        read_labels(write(tmp_path, text), *plain)


def test_a_column_without_its_time_is_told_and_a_bad_number_has_its_line(tmp_path, plain):
    with pytest.raises(DataError, match="no column 'frame' or 'step' or 'time'"):
        read_labels(write(tmp_path, "path,action\nepisode 0,left\nepisode 0,right\n"), *plain)
    with pytest.raises(DataError, match="line 3: the column 'time' must hold a number, and has 'soon'"):
        read_labels(write(tmp_path, "path,time,action\nepisode 0,0.1,left\nepisode 0,soon,right\n"), *plain)


def test_labels_are_described_by_their_choices(tmp_path, plain):
    """A misspelt word shows: it is a choice of its own."""
    text = "path,frame,action\nepisode 0,0,left\nepisode 0,1,right\nepisode 0,2,rihgt\nepisode 0,3,left\n"
    said = read_labels(write(tmp_path, text), *plain).describe()
    assert said == "4 labels of 3 choices (left 2, right 1, rihgt 1); guessing loses 1.099"

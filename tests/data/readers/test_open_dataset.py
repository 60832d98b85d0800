import pytest

from flexlam.core import catalog
from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.readers.video_folder import VideoFolderReader


@pytest.mark.parametrize("codec", ["png", "mp4"])
def test_a_lerobot_dataset_is_recognised(moving_square_dataset, codec):
    assert isinstance(open_dataset(moving_square_dataset(codec=codec).path), LeRobotReader)


def test_a_folder_of_videos_and_one_video_are_recognised(tmp_path, make_episode, write_video):
    write_video(tmp_path / "a/b.mp4", make_episode(3, 0, size=32).frames, 10)
    assert isinstance(open_dataset(tmp_path), VideoFolderReader)
    assert isinstance(open_dataset(tmp_path / "a/b.mp4"), VideoFolderReader)


def test_what_is_no_dataset_is_explained(tmp_path):
    with pytest.raises(DataError, match="no dataset at"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(DataError, match=r"empty folder.*frame-folder.*lerobot.*webdataset"):
        open_dataset(tmp_path)
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").touch()
    with pytest.raises(DataError, match=r"2 \.txt.*frame-folder.*lerobot.*webdataset"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"one \.txt file"):
        open_dataset(tmp_path / "a.txt")


def test_a_frame_store_is_told_apart(make_episode, memory_reader, build):
    store, _ = build(memory_reader([make_episode(3, 0)]))
    with pytest.raises(DataError, match="looks like a frame store"):
        open_dataset(store.path)


def test_a_format_whose_package_is_missing_hides_no_other(tmp_path, make_episode, write_video, monkeypatch):
    readers = {"absent": "no_such_package.reader:Reader"} | catalog.CATALOG["reader"]
    monkeypatch.setitem(catalog.CATALOG, "reader", readers)
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"no known format.*'absent' needs the package 'no_such_package'"):
        open_dataset(tmp_path)
    write_video(tmp_path / "b.mp4", make_episode(3, 0, size=32).frames, 10)
    assert open_dataset(tmp_path).info.format == "video-folder"

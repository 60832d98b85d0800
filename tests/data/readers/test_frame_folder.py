import numpy as np
import pytest
from PIL import Image

from flexlam.core.errors import DataError
from flexlam.data.readers import open_dataset
from flexlam.data.readers.frame_folder import FrameFolderReader


def write(path, value, mode="RGB", size=(10, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).convert(mode).save(path)


def test_frames_come_in_the_natural_order_of_their_names(tmp_path):
    for step in (1, 2, 10, 11, 100):
        write(tmp_path / f"clip/{step}.jpg", step)
    reader = FrameFolderReader(tmp_path)
    frames = np.stack(list(reader.frames(reader.episodes()[0])))
    assert np.abs(frames[:, 0, 0, 0].astype(int) - [1, 2, 10, 11, 100]).max() <= 2
    assert reader.info.frame_shape == (8, 10, 3) and reader.episodes()[0].length == 5


def test_one_folder_of_pictures_is_an_episode(tmp_path):
    for step in range(3):
        write(tmp_path / "walk" / f"{step}.png", step, "L")
    reader = open_dataset(tmp_path / "walk")
    assert (reader.info.frame_shape, reader.info.tasks) == ((8, 10, 1), ("walk",))
    assert [episode.name for episode in reader.episodes()] == ["walk"]
    assert np.stack(list(reader.frames(reader.episodes()[0])))[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_a_damaged_picture_is_named(tmp_path):
    for step in range(3):
        write(tmp_path / f"{step}.png", step)
    (tmp_path / "1.png").write_bytes(b"no picture")
    reader = FrameFolderReader(tmp_path)
    with pytest.raises(DataError, match=r"1\.png: the picture cannot be decoded"):
        list(reader.frames(reader.episodes()[0]))


def test_thumbnails_beside_videos_are_no_episode(tmp_path, make_episode, write_video):
    write_video(tmp_path / "v/a.mp4", make_episode(3, 0, size=32).frames, 10)
    write(tmp_path / "v/a.jpg", 3)
    assert open_dataset(tmp_path).info.format == "video-folder"


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        FrameFolderReader(tmp_path)

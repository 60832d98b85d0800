import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.data.readers.video_folder import VideoFolderReader


@pytest.fixture
def folder(tmp_path, make_episode, write_video):
    frames = make_episode(12, 0, size=32).frames
    write_video(tmp_path / "v/open/one.mp4", frames, 10)
    write_video(tmp_path / "v/open/two.mkv", frames[:7], 25)
    write_video(tmp_path / "v/close/three.avi", frames[:5], 5, codec="ffv1", pix_fmt="bgr0")
    write_video(tmp_path / "v/four.webm", frames[:6], 30, codec="libvpx-vp9")
    (tmp_path / "v/notes.txt").touch()
    return tmp_path / "v", frames


def test_every_video_is_an_episode_with_its_folder_as_task(folder):
    reader = VideoFolderReader(folder[0])
    episodes = reader.episodes()
    assert [e.name for e in episodes] == ["close/three.avi", "four.webm", "open/one.mp4", "open/two.mkv"]
    assert [e.task for e in episodes] == ["close", "v", "open", "open"]
    assert reader.info.action_spec is None and reader.info.frame_shape == (32, 32, 3)
    assert [len(list(reader.frames(e))) for e in episodes] == [5, 6, 12, 7]


def test_times_follow_each_files_own_frame_rate(folder):
    reader = VideoFolderReader(folder[0])
    for episode, (count, fps) in zip(reader.episodes(), [(5, 5), (6, 30), (12, 10), (7, 25)], strict=True):
        times = reader.columns(episode).times
        assert np.allclose(times, np.arange(count) / fps, atol=2e-3)


def test_lossless_video_is_decoded_exactly(folder):
    reader = VideoFolderReader(folder[0])
    assert np.array_equal(np.stack(list(reader.frames(reader.episodes()[0]))), folder[1][:5])


def test_a_single_file_is_a_dataset(folder):
    reader = VideoFolderReader(folder[0] / "open/one.mp4")
    assert (reader.info.num_episodes, reader.info.num_frames, reader.info.fps) == (1, 12, 10)
    assert reader.episodes()[0].task == "one"


def test_a_bad_file_fails_when_its_frames_are_asked_for(folder):
    path = folder[0] / "open/one.mp4"
    path.write_bytes(path.read_bytes()[:500])
    reader = VideoFolderReader(folder[0])
    with pytest.raises(DataError, match=r"one\.mp4"):
        list(reader.frames(reader.episodes()[2]))
    assert len(list(reader.frames(reader.episodes()[3]))) == 7


def test_only_bad_files_are_no_dataset(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no")
    with pytest.raises(DataError, match="None of the 1 videos"):
        VideoFolderReader(tmp_path)


def test_an_audio_file_in_disguise_is_named(tmp_path):
    import av

    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DataError, match="no video stream"):
        VideoFolderReader(tmp_path)


def test_a_phones_video_is_turned_upright(tmp_path, make_episode, write_video):
    """Phones record on their side and write a display matrix into the track's header."""
    frames = make_episode(3, 0, size=32).frames[:, :16]
    write_video(tmp_path / "v/a.mp4", frames, 10, codec="libx264rgb", pix_fmt="rgb24")
    data = bytearray((tmp_path / "v/a.mp4").read_bytes())
    plain = np.stack(list(VideoFolderReader(tmp_path / "v").frames(VideoFolderReader(tmp_path / "v").episodes()[0])))
    one = 1 << 16
    for turned, matrix in ((-1, (0, one, 0, -one, 0, 0)), (2, (-one, 0, 0, 0, -one, 0)), (1, (0, -one, 0, one, 0, 0))):
        start = data.find(b"tkhd") + 44
        data[start : start + 36] = struct.pack(">9i", *matrix, 0, 0, 1 << 30)
        (tmp_path / "v/a.mp4").write_bytes(data)
        reader = VideoFolderReader(tmp_path / "v")
        shown = np.stack(list(reader.frames(reader.episodes()[0])))
        assert np.array_equal(shown, np.rot90(plain, turned, axes=(1, 2)))
        assert reader.info.frame_shape == shown.shape[1:]


def test_sound_is_left_alone_and_uneven_times_are_kept(tmp_path, make_episode):
    frames, stamps = make_episode(5, 0, size=32).frames, [0, 100, 250, 300, 900]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        picture = container.add_stream("ffv1", rate=10)
        picture.width = picture.height = 32
        picture.pix_fmt = "bgr0"
        picture.codec_context.time_base = Fraction(1, 1000)
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        noise.sample_rate = 16000
        container.mux(sound.encode(noise))
        for frame, stamp in zip(frames, stamps, strict=True):
            shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
            shown.pts, shown.time_base = stamp, Fraction(1, 1000)
            container.mux(picture.encode(shown))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    reader = VideoFolderReader(tmp_path)
    episode = reader.episodes()[0]
    assert np.array_equal(np.stack(list(reader.frames(episode))), frames)
    assert np.allclose(reader.columns(episode).times, np.array(stamps) / 1000)

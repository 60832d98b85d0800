import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.data.video import VideoEncoder, decode, frame_times, probe


def encode(path, frames, fps=8.75, crf=None):
    encoder = VideoEncoder(path, fps, frames.shape[1:], crf)
    for frame in frames:
        encoder.append(frame)
    encoder.close()


def test_lossless_video_comes_back_exactly_from_any_start(tmp_path, make_episode):
    frames = make_episode(40, 0, size=32).frames
    encode(tmp_path / "a.mp4", frames)
    assert np.array_equal(np.stack(list(decode(tmp_path / "a.mp4"))), frames)
    for start in (1, 7, 8, 9, 33):
        part = list(decode(tmp_path / "a.mp4", start / 8.75, 5))
        assert np.array_equal(np.stack(part), frames[start : start + 5])


def test_lossy_video_is_close_and_smaller(tmp_path, make_episode):
    y, x = np.mgrid[:64, :64]
    frames = np.stack([np.stack([2 * x + t, 2 * y, x + y], -1) for t in range(30)]).astype(np.uint8)
    encode(tmp_path / "lossless.mp4", frames)
    encode(tmp_path / "lossy.mp4", frames, crf=18)
    decoded = np.stack(list(decode(tmp_path / "lossy.mp4")))
    assert np.abs(decoded.astype(int) - frames).mean() < 4
    assert (tmp_path / "lossy.mp4").stat().st_size < (tmp_path / "lossless.mp4").stat().st_size


def test_times_and_header_agree_with_what_was_written(tmp_path, make_episode):
    encode(tmp_path / "a.mp4", make_episode(20, 0, size=32).frames, crf=18)
    assert probe(tmp_path / "a.mp4") == ((32, 32, 3), 8.75, 20)
    assert np.allclose(frame_times(tmp_path / "a.mp4"), np.arange(20) / 8.75, atol=1e-6)


def test_asking_for_more_frames_than_there_are_is_an_error(tmp_path, make_episode):
    encode(tmp_path / "a.mp4", make_episode(5, 0, size=32).frames)
    with pytest.raises(DataError, match="ends after 3 of 9 frames"):
        list(decode(tmp_path / "a.mp4", 2 / 8.75, 9))


@pytest.mark.parametrize("read", [lambda path: list(decode(path)), frame_times, probe])
def test_a_file_that_is_no_video_is_named(tmp_path, read):
    (tmp_path / "broken.mp4").write_bytes(b"nothing to see" * 100)
    with pytest.raises(DataError, match=r"broken\.mp4"):
        read(tmp_path / "broken.mp4")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_file_is_never_whole_in_memory(tmp_path):
    path = tmp_path / "long.avi"
    picture = av.VideoFrame.from_ndarray(np.zeros((256, 256, 3), np.uint8), format="bgr24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=30)
        stream.width = stream.height = 256
        stream.pix_fmt = "bgr24"
        for step in range(300):
            picture.pts, picture.time_base = step, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert path.stat().st_size > 50e6
    code = (
        "import sys; from flexlam.data import video\n"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "next(video.decode(sys.argv[1])); before = peak()\n"
        "assert len(video.frame_times(sys.argv[1])) == 300\n"
        "assert sum(1 for _ in video.decode(sys.argv[1])) == 300\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 25_000, "kilobytes"

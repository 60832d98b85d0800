"""Video files through PyAV: encode a stream of frames, decode a stretch of one."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from flexlam.core.errors import DataError
from flexlam.data.location import ByteStream, Location

# A key frame at least this often: random access costs little, files grow by about a tenth.
KEY_FRAME_EVERY = 8
HEADER_BYTES = 4096

VideoSource = Location | ByteStream
# PyAV raises ValueError and MemoryError for headers that make no sense, EOFError at an early end.
_ERRORS = (FFmpegError, OSError, ValueError, MemoryError, EOFError)


class VideoEncoder:
    """One mp4 file (H.264) that frames are appended to; `crf=None` is lossless RGB.

    Raises:
        OSError: the disk is full or the place cannot be written; so do its methods.
    """

    key_frame_every = KEY_FRAME_EVERY

    def __init__(self, path: Path, fps: float, frame_shape: tuple[int, int, int], crf: int | None) -> None:
        self.path = path
        self.num_frames = 0
        self.codec = "libx264" if crf is not None else "libx264rgb"
        self.pix_fmt = "yuv444p" if crf is not None else "rgb24"
        quality = {"crf": str(crf)} if crf is not None else {"qp": "0"}
        # A muxer that cannot even write its header brings the whole process down, so fail before it tries.
        path.write_bytes(bytes(HEADER_BYTES))
        with _as_os_errors():
            self._container: Any = av.open(str(path), "w", format="mp4")
        stream: Any = self._container.add_stream(
            self.codec,
            rate=Fraction(fps).limit_denominator(100_000),
            options={**quality, "preset": "veryfast", "g": str(KEY_FRAME_EVERY)},
        )
        stream.height, stream.width = frame_shape[:2]
        stream.pix_fmt = self.pix_fmt
        self._stream = stream

    def append(self, frame: np.ndarray) -> None:
        """Encode a frame (H, W, 3) uint8."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self.num_frames
        picture.time_base = 1 / self._stream.codec_context.framerate
        with _as_os_errors():
            self._container.mux(self._stream.encode(picture))
        self.num_frames += 1

    def close(self) -> None:
        """Write what the encoder still holds, and the file's index."""
        with _as_os_errors():
            try:
                self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """PyAV's own errors as the operating system's, which is what they are when writing fails."""
    try:
        yield
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise OSError(error.errno, str(error.strerror)) from error


def decode(
    source: VideoSource, start: float = 0.0, num_frames: int | None = None, name: str | None = None
) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) uint8 from `start` seconds on, at most `num_frames`, streamed; turned as the file says.

    `name` stands for the source in messages.

    Raises:
        DataError: the file is no video, is damaged, or ends before `num_frames`.
    """
    name = name or str(source)
    count, turns = 0, None
    try:
        with _opened(source) as container:
            stream = video_stream(container, name)
            offset = float((stream.start_time or 0) * (stream.time_base or 0))
            first = start + offset - 0.5 / float(stream.average_rate or 30)
            if start > 0 and stream.time_base:
                container.seek(int((start + offset) / stream.time_base), stream=stream)
            for picture in container.decode(stream):
                if start > 0 and picture.time is not None and picture.time < first:
                    continue
                if num_frames is not None and count == num_frames:
                    return
                # A phone records on its side and says so, of all frames alike; asking every frame takes time.
                turns = round(picture.rotation / 90) % 4 if turns is None else turns
                frame: np.ndarray = picture.to_ndarray(format="rgb24")
                yield np.ascontiguousarray(np.rot90(frame, turns)) if turns else frame
                count += 1
    except _ERRORS as error:
        raise DataError(
            f"{name} cannot be decoded after frame {count} ({_reason(error)}). "
            "The file may be truncated or no video; replace or remove it."
        ) from error
    if num_frames is not None and count < num_frames:
        raise DataError(f"{name} ends after {count} of {num_frames} frames; the file is truncated. Replace it.")


def frame_times(source: VideoSource, name: str | None = None) -> np.ndarray:
    """(T,) float64 seconds since the first frame, read from the packets without decoding.

    Raises:
        DataError: the file is no video or is damaged.
    """
    name = name or str(source)
    try:
        with _opened(source) as container:
            stream = video_stream(container, name)
            # Packets hold their data: keep none of them.
            stamps = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
            if not stamps or stream.time_base is None or any(stamp is None for stamp in stamps):
                return np.arange(len(stamps)) / float(stream.average_rate or 30)
            ticks: np.ndarray = np.sort(np.array(stamps, np.int64))
            seconds: np.ndarray = (ticks - ticks[0]) * float(stream.time_base)
            return seconds
    except _ERRORS as error:
        raise DataError(f"{name} cannot be read ({_reason(error)}). Replace or remove it.") from error


def probe(source: VideoSource, name: str | None = None) -> tuple[tuple[int, int, int], float, int | None]:
    """Frame shape (H, W, 3), frames per second, and number of frames where the header tells.

    The shape is the coded one: a phone's video may be turned when it is decoded (`first_frame` tells).

    Raises:
        DataError: the file is no video or is damaged.
    """
    name = name or str(source)
    try:
        with _opened(source) as container:
            stream = video_stream(container, name)
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            if not fps or not stream.codec_context.height:
                raise DataError(f"{name} names neither its frame rate nor its size; it may be truncated. Replace it.")
            shape = (stream.codec_context.height, stream.codec_context.width, 3)
            return shape, fps, stream.frames or None
    except _ERRORS as error:
        raise DataError(f"{name} cannot be read as video ({_reason(error)}). Replace or remove it.") from error


def first_frame(source: VideoSource, name: str | None = None) -> np.ndarray:
    """(H, W, 3) uint8.

    Raises:
        DataError: the file is no video, is damaged, or holds no frame.
    """
    frame = next(decode(source, name=name), None)
    if frame is None:
        raise DataError(f"{name or source} holds no frame. Replace or remove it.")
    return frame


def video_stream(container: Any, name: str | Path) -> Any:
    """The first video stream.

    Raises:
        DataError: there is none.
    """
    if not container.streams.video:
        raise DataError(f"{name} holds no video stream. Remove it, or convert it to mp4 with a video track.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise DataError(f"{name} names no codec that can be decoded; it is damaged or rare. Convert it to mp4.")
    return stream


@contextlib.contextmanager
def _opened(source: VideoSource) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        if not isinstance(source, Path) and hasattr(source, "open"):  # a URL
            source = stack.enter_context(source.open("rb"))
        yield stack.enter_context(av.open(str(source) if isinstance(source, Path) else source))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)

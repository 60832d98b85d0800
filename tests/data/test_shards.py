import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.data.shards import ShardReader, ShardWriter, decode_frame, encode_frame, shard_path

SHAPE = (8, 8, 3)


def random_frames(count, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def append(writer, frames, codec):
    """An episode's frames, as a part holds them."""
    data = [encode_frame(codec, frame) for frame in frames]
    file = writer._folder.parent / "part"
    file.write_bytes(b"".join(data))
    return writer.append(file, np.cumsum([len(d) for d in data]).astype(np.int64))


def write(folder, frames, codec="raw", shard_bytes=10**9):
    with ShardWriter(folder, codec, shard_bytes) as writer:
        for part in (frames[:7], frames[7:8], frames[8:]):
            append(writer, part, codec)
        return writer.finish()


@pytest.mark.parametrize("codec", ["raw", "webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_codecs_give_back_every_frame_in_any_order(tmp_path, codec, channels):
    frames = random_frames(20, shape=(8, 8, channels))
    shards = write(tmp_path, frames, codec, shard_bytes=700)
    assert len(shards) > 1 and all(shard.num_bytes <= 700 for shard in shards)
    reader = ShardReader(tmp_path, shards, codec, (8, 8, channels))
    order = np.random.default_rng(1).integers(0, 20, 50)
    assert np.array_equal(reader.gather(order), frames[order])
    assert reader.gather(np.zeros(0, np.int64)).shape == (0, 8, 8, channels)


def test_jpeg_is_close():
    y, x = np.mgrid[:32, :32]
    frame = np.stack([8 * x, 8 * y, 4 * (x + y)], -1).astype(np.uint8)
    assert np.abs(decode_frame(encode_frame("jpeg", frame), 3).astype(int) - frame).mean() < 3


@pytest.mark.parametrize("codec", ["raw", "webp"])
@pytest.mark.parametrize("kept", [0, 1, 3, 7])
def test_a_new_writer_goes_on_and_cuts_off_what_came_after(tmp_path, codec, kept):
    frames, others, last = random_frames(kept, 1), random_frames(9, 2), random_frames(4, 3)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with ShardWriter(tmp_path / "a", codec, 800) as writer:
        stretches = append(writer, frames, codec)
        ends = [np.array(part) for part in writer._ends]
        append(writer, others, codec)
    assert sum(count for _, count in stretches) == kept
    with ShardWriter(tmp_path / "a", codec, 800, ends) as writer:
        append(writer, last, codec)
        shards = writer.finish()
    assert shards == write(tmp_path / "b", np.concatenate([frames, last]), codec, 800)
    names = sorted(file.name for file in (tmp_path / "b").iterdir())
    assert names == sorted(file.name for file in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


@pytest.mark.parametrize("codec", ["raw", "webp"])
def test_a_truncated_or_missing_shard_is_noticed(tmp_path, codec):
    shards = write(tmp_path, random_frames(5), codec)
    path = shard_path(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="truncated or damaged"):
        ShardReader(tmp_path, shards, codec, SHAPE)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        ShardReader(tmp_path, shards, codec, SHAPE)


def test_a_damaged_picture_is_noticed_when_it_is_read(tmp_path):
    shards = write(tmp_path, random_frames(5), "webp")
    path = shard_path(tmp_path, 0)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DataError, match="cannot be decoded"):
        ShardReader(tmp_path, shards, "webp", SHAPE).gather(np.array([3]))

import io

import numpy as np
import pytest
from PIL import Image

from flexlam.data.png import encode_png


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_is_read_back_exactly_by_another_decoder(channels):
    frame = np.random.default_rng(channels).integers(0, 256, (13, 7, channels), np.uint8)
    with Image.open(io.BytesIO(encode_png(frame))) as image:
        image.verify()
    with Image.open(io.BytesIO(encode_png(frame))) as image:
        assert np.array_equal(np.asarray(image).reshape(frame.shape), frame)


def test_png_takes_frames_that_are_views():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    view = frames[1, ::2, ::2]
    with Image.open(io.BytesIO(encode_png(view))) as image:
        assert np.array_equal(np.asarray(image), view)

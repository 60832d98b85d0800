"""Encoded pictures to frames."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from flexlam.core.errors import DataError

PICTURE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF", b"BM")
"""How files of jpeg, png, webp and bmp begin."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def decode_picture(data: bytes, channels: int | None, where: str) -> np.ndarray:
    """A picture file to a frame (H, W, channels) uint8; an alpha channel is dropped.

    Without `channels` a picture of greys has one, any other three.

    Raises:
        DataError: it cannot be decoded, or its pixels have more than 8 bits.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(
                    f"{where}: the picture has pixels of 16 bits or more (mode {image.mode}); expected 8 bits. "
                    "Convert the pictures to uint8."
                )
            if channels == 1 or (channels is None and image.mode in ("1", "L", "LA")):
                return np.asarray(image.convert("L"))[..., None]
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DataError(f"{where}: the picture cannot be decoded ({error}). Recreate the dataset.") from error

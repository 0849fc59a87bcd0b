"""Untrusted grey 8-bit images whose pixels are data: read as they are, or refused; nothing is converted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from descbench.errors import DataError
from descbench.io.kinds import why_unreadable


def read_grey(path: Path, kind: Literal["BMP", "PNG"], most: tuple[int, int]) -> np.ndarray:
    """The pixels of a grey image, (H, W) uint8.

    Args:
        path: the file.
        kind: format that it must have.
        most: largest height and width; no memory is taken for more.

    Raises:
        DataError: the file is absent, of another format, not grey of 8 bits, larger than ``most``, or ends early.
    """
    try:
        with Image.open(path, formats=[kind]) as image:
            width, height = image.size
            if not (0 < height <= most[0] and 0 < width <= most[1]):
                raise DataError(
                    f"{path}: {width} x {height} pixels, where at most {most[1]} x {most[0]} can be; fetch it again."
                )
            if image.mode != "L":
                raise DataError(f"{path}: an image of mode {image.mode}, not grey of 8 bits; fetch it again.")
            image.verify()  # the checksums of a PNG, which decoding passes over; the image is spent by it
        with Image.open(path, formats=[kind]) as image:
            return np.array(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; unpack its source again.") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a {kind} image; fetch it again.") from None
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their bytes lead to
        raise DataError(f"{path}: {why_unreadable(error)}; fetch it again.") from error

"""Descriptors of a strip of patches as text, like the original's example (docs/protocols/hardnet.md, Extraction)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from descbench.errors import DataError
from descbench.features.describe_patches import Describer, in_blocks
from descbench.features.finite import all_finite
from descbench.features.patch_pixels import grey_of_colours
from descbench.io.atomic import atomic_path
from descbench.io.kinds import why_unreadable
from descbench.io.outputs import check_output

# Of 8 bits a channel, which alone become grey as the original has them.
_COLOURS = ("RGB", "RGBA", "P", "LA")
_FORMATS = ("PNG", "BMP", "JPEG", "PPM", "TIFF")
# Pixels of a strip: ten times what the longest of HPatches holds.
_MOST = 65 * 65 * 20_000
_ROWS = 4096  # converted together
_LONGEST_LINE = 1 << 16


def read_patch_strip(path: Path, *, lenient: bool = False) -> np.ndarray:
    """(N, W, W) uint8 patches that stand above each other in an image W pixels wide.

    Args:
        path: a grey image of 8 bits.
        lenient: as the original reads it: rows that fill no patch are left out, and a colour image becomes grey.

    Raises:
        DataError: no such image, colours, more than 8 bits, an orientation in its EXIF, or a height that is no
            multiple of the width.
    """
    pixels = _pixels(path, lenient)
    height, width = pixels.shape
    count = height // width
    if not count or (height % width and not lenient):
        raise DataError(
            f"{path}: {width} x {height} pixels are not a strip of {width} x {width} patches; cut it to a whole number "
            "of them."
        )
    return pixels[: count * width].reshape(count, width, width)


def extract_strip(
    strip: Path, describer: Describer, output: Path, *, separator: str = " ", lenient: bool = False
) -> None:
    """Write descriptors of a strip as text: a line a patch, numbers in ``%10.5f``.

    Args:
        strip: see :func:`read_patch_strip`.
        describer: what describes the patches.
        output: the text file.
        separator: between numbers; ``,`` for the files of the HPatches benchmark.
        lenient: see :func:`read_patch_strip`.

    Raises:
        ConfigError: an output that is the strip, or a file of something else.
        DataError: no strip, descriptors that are not finite, or the disk is full.
    """
    check_output(output, [strip], read=_read_numbers)
    patches = read_patch_strip(strip, lenient=lenient)
    with atomic_path(output) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as stream:
        for block in in_blocks(describer, patches):
            if not all_finite(block):
                raise DataError(f"{strip}: not described, descriptors hold NaN or infinity; check the weights.")
            stream.writelines(separator.join(f"{value:10.5f}" for value in row) + "\n" for row in block.tolist())


def _read_numbers(path: Path) -> None:
    """Refuse what is not text of descriptors, by its first line."""
    with open(path, "rb") as stream:
        line = stream.readline(_LONGEST_LINE)
    try:
        [float(field) for field in re.split(rb"[,;\s]+", line.strip())]
    except ValueError:
        raise DataError(f"{path}: no descriptors.") from None


def _pixels(path: Path, lenient: bool) -> np.ndarray:
    """(H, W) uint8 of a grey image."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: is a named pipe, a socket or a device; name the image of a strip.")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > _MOST:
                raise DataError(f"{path}: {image.width} x {image.height} pixels are too many; cut it into several.")
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                raise DataError(f"{path}: its EXIF says that it is to be turned, so what is a patch is open; turn it.")
            if image.mode == "L":
                return np.array(image)
            if not lenient or image.mode not in _COLOURS:
                raise DataError(f"{path}: an image of mode {image.mode}, not grey of 8 bits; convert it to grey.")
            colours = np.array(image.convert("RGB"))
            parts = [grey_of_colours(colours[start : start + _ROWS]) for start in range(0, len(colours), _ROWS)]
            return np.concatenate(parts)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name the image of a strip.") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: no image of a format that is read here ({', '.join(_FORMATS)}).") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too many pixels ({error}); cut it into several.") from error
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their bytes lead to
        raise DataError(f"{path}: {why_unreadable(error)}.") from error

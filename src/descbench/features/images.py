"""Reading an image the way the retrieval toolbox does (docs/protocols/how.md, Image reading)."""

from __future__ import annotations

import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from descbench.errors import DataError
from descbench.features.deep import DeepImages, to_eight_bits
from descbench.io.image_formats import register_formats

if TYPE_CHECKING:
    import torch

Box = Sequence[float]
# Where Pillow itself takes an image for a decompression bomb.
_MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
_LOCK = threading.Lock()
# What makes an image upright, by EXIF's orientation (Exif 2.32, tag 274); and the orientation that undoes one, if it is
# another.
_BACK = {6: 8, 8: 6}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class LoadedImage:
    """An image as the network sees it, and the way back to the original's pixels.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        offset: x, y of the crop's corner in the original image.
        ratio: x, y pixels of the original per pixel here.
        note: what was decided while reading that a user should be told once, such as how deep values were scaled;
            empty for plain images.
        grey: (H, W) uint8, where grey pixels are read in a way of their own; None: they follow from ``pixels``.
        unturned: EXIF says that the image is to be turned, and it is read as it is stored.
    """

    pixels: np.ndarray
    offset: tuple[float, float]
    ratio: tuple[float, float]
    note: str = ""
    grey: np.ndarray | None = None
    unturned: bool = False

    def to_original(self, points: np.ndarray) -> np.ndarray:
        """Map (n, 2) x, y from here to pixels of the original image."""
        return points * np.array(self.ratio, np.float32) + np.array(self.offset, np.float32)


def load_image(
    path: str | os.PathLike[str],
    image_size: int | None,
    box: Box | None = None,
    *,
    resize: tuple[int, int] | None = None,
    deep_images: DeepImages = "scale",
    truncated_images: Literal["refuse", "read"] = "refuse",
    exif_orientation: Literal["ignore", "apply"] = "ignore",
) -> LoadedImage:
    """Read, crop and shrink an image; never enlarged but by ``resize``.

    Of several frames the first is read; transparency is dropped, as the originals do.

    Args:
        path: image file.
        image_size: longer side in pixels of the *whole* image after shrinking; a crop is shrunk by the
            same factor; None: never shrunk.
        box: x1, y1, x2, y2 in pixels. PIL rounds each (half to even); what lies outside the image is
            black.
        resize: height and width that the (cropped) image is brought to bilinearly, whatever its shape, instead of
            ``image_size`` (Patch-NetVLAD: 480 x 640).
        deep_images: how values of more than 8 bits become 8 bits (:func:`descbench.features.deep.to_eight_bits`).
        truncated_images: whether a file that ends early is refused, or read as far as it goes with a grey or
            black rest, as the originals do at evaluation.
        exif_orientation: ``ignore``: as the file is stored, as the originals do; ``apply``: turned and mirrored as
            EXIF says. "The original image" of boxes and points is then the upright one.

    Raises:
        DataError: the file is absent, empty, no image, ends early, is too large to be one, holds values that are
            not finite, or the crop has no area, misses the image or reaches far beyond it.

    Shrinking follows the installed Pillow, which rounds differently from the one of the published runs
    (sizes may differ by a pixel).
    """
    image, note, unturned = read_whole(path, deep_images, truncated_images == "read", exif_orientation == "apply")
    target: float | None = image_size
    corner = (0, 0)
    if box is not None:
        longest = max(image.size)
        corner = check_box(path, box, image.size)
        image = image.crop(tuple(box))
        target = None if image_size is None else image_size * max(image.size) / longest
    before = image.size
    if resize is not None:
        image = image.resize(resize[::-1], Image.Resampling.BILINEAR)
    elif target is not None:  # below one pixel Pillow has nothing to keep the aspect ratio with
        image.thumbnail((max(target, 1.0), max(target, 1.0)), Image.Resampling.LANCZOS)
    ratio = (before[0] / image.width, before[1] / image.height)
    return LoadedImage(np.asarray(image), corner, ratio, note, unturned=unturned)


def read_size(path: str | os.PathLike[str], exif_orientation: str = "ignore") -> tuple[int, int]:
    """Width and height of an image in pixels, from its head alone; with ``apply``, of the upright image.

    Raises:
        DataError: the file is absent, no image, or too large to be one.
    """
    stored, orientation = _read_head(path)
    return stored[::-1] if exif_orientation == "apply" and orientation >= 5 else stored


def is_turned(path: str | os.PathLike[str]) -> bool:
    """Whether EXIF says that an image is to be turned or mirrored.

    Raises:
        DataError: as :func:`read_size`.
    """
    return _read_head(path)[1] != 1


def _read_head(path: str | os.PathLike[str]) -> tuple[tuple[int, int], int]:
    """Width and height in pixels, and EXIF's orientation, without the pixels."""
    try:
        register_formats()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                _check_size(path, opened.size)
                orientation, size = orientation_of(opened), opened.size
                if orientation >= 5:  # Pillow says the size of TIFF as it will load it: upright, see read_whole
                    opened.load()
                    size = opened.size[::-1] if orientation_of(opened) != orientation else opened.size
                return size, orientation
    except DataError:
        raise
    except Exception as error:  # as in _read
        raise DataError(f"{path}: cannot be read as an image ({error}); fetch the file again.") from error


def to_tensor(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32: divided by 255, mean subtracted, divided by std."""
    import torch  # pages and scores read images too, and need no network

    values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div(255)
    columns = [torch.tensor(list(v), dtype=torch.float32)[:, None, None] for v in (mean, std)]
    return values.sub_(columns[0]).div_(columns[1])


def read_whole(
    path: str | os.PathLike[str], deep: DeepImages, truncated: bool, upright: bool
) -> tuple[Image.Image, str, bool]:
    """The whole image in RGB, turned as EXIF says where it is to be ``upright``; ``note`` and ``unturned`` of it, as in
    :class:`LoadedImage`.

    Raises:
        DataError: as :func:`load_image`.
    """
    try:
        register_formats()
        with reading_switches(truncated), Image.open(path) as opened:
            _check_size(path, opened.size)
            orientation = orientation_of(opened)
            opened.load()
            # Of TIFF Pillow turns what it loads, and then says nothing of an orientation.
            is_upright = orientation_of(opened) != orientation
            image, note = to_eight_bits(opened, deep)
            if upright != is_upright:
                image = turn_upright(image, orientation if upright else _BACK.get(orientation, orientation))
            unturned = orientation != 1 and not upright
            if unturned:
                note = note or (
                    "EXIF says that files are to be turned: read as they are stored, as by the originals "
                    "(`exif_orientation: apply` turns them)"
                )
            if getattr(opened, "n_frames", 1) > 1:
                note = note or f"{opened.format} files of several frames: the first is read"
            return image.convert("RGB"), note, unturned
    except FileNotFoundError:
        raise DataError(f"{path}: no such image.") from None
    except UnidentifiedImageError:
        size = Path(path).stat().st_size
        raise DataError(f"{path}: {size} bytes that are not an image PIL can read; fetch the file again.") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: too large to be read ({error}); reduce the image.") from None
    except MemoryError:
        raise DataError(f"{path}: too large for the memory of this machine; reduce the image.") from None
    except DataError as error:
        raise error if str(error).startswith(str(path)) else DataError(f"{path}: {error}") from None
    except Exception as error:  # Pillow's decoders raise whatever their bytes lead to: struct.error, KeyError...
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
        hint = "; `truncated_images: read` takes what is there, as the originals do" if _is_cut(error) else ""
        raise DataError(f"{path}: cannot be read as an image ({error}); fetch the file again{hint}.") from error


def orientation_of(image: Image.Image) -> int:
    """Orientation that EXIF says, 1 to 8; 1, as it is stored, where it says none or cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF, of which Pillow raises whatever its bytes lead to, says nothing
        return 1
    return orientation if orientation in _TURNS else 1


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image of an orientation of EXIF, turned and mirrored so that it stands upright."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _is_cut(error: Exception) -> bool:
    return any(word in str(error).lower() for word in ("truncated", "broken data stream", "unrecognized data stream"))


@contextmanager
def reading_switches(truncated: bool) -> Iterator[None]:
    """Pillow's switch for files that end early belongs to the process: set for one image at a time, and put back."""
    with _LOCK:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, truncated
        try:
            with warnings.catch_warnings():
                # What matters ends in an error; the rest (odd EXIF, large photographs) is no concern of the user's.
                warnings.simplefilter("ignore")
                yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _check_size(path: str | os.PathLike[str], size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise DataError(f"{path}: {size[0]} x {size[1]} pixels are not an image; fetch the file again.")
    if size[0] * size[1] > _MOST_PIXELS:
        raise DataError(f"{path}: {size[0]} x {size[1]} pixels are more than {_MOST_PIXELS}; reduce the image.")


def check_box(path: str | os.PathLike[str], box: Box, size: tuple[int, int]) -> tuple[int, int]:
    """Corner of a crop that is worth its memory: it touches the image and reaches no farther than its longer side."""
    advice = "check the bounding box in the ground truth."
    shown = f"{path}: crop {tuple(box)} of an image of {size[0]} x {size[1]} pixels"
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise DataError(f"{shown} is not x1, y1, x2, y2 in numbers; {advice}")
    x1, y1, x2, y2 = (round(v) for v in box)
    if x2 <= x1 or y2 <= y1:
        raise DataError(f"{shown} has no area; {advice}")
    if x1 >= size[0] or y1 >= size[1] or x2 <= 0 or y2 <= 0:
        raise DataError(f"{shown} does not touch it; {advice}")
    reach = max(size)
    beyond = max(-x1, -y1, x2 - size[0], y2 - size[1]) > reach
    if beyond or (x2 - x1) * (y2 - y1) > _MOST_PIXELS:
        raise DataError(f"{shown} reaches more than {reach} pixels beyond it, or is too large; {advice}")
    return x1, y1

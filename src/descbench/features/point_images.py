"""Reading an image as HNDesc does: grey by OpenCV for the detector, colours by Pillow for the descriptor.

Definition: docs/protocols/hndesc.md, Images.
"""

from __future__ import annotations

import os
from typing import Literal

import cv2
import numpy as np
import torch
from PIL import Image

from descbench.features.deep import DeepImages
from descbench.features.images import (
    Box,
    LoadedImage,
    check_box,
    orientation_of,
    read_whole,
    reading_switches,
    to_tensor,
    turn_upright,
)
from descbench.models.points import PointNetwork

# Weights of red, green and blue in OpenCV's readers of images, which round otherwise than its conversion of colours.
_WEIGHTS, _BITS = (4899, 9617, 1868), 14


def load_point_image(
    path: str | os.PathLike[str],
    image_size: int | None = None,
    box: Box | None = None,
    *,
    resize: tuple[int, int] | None = None,
    deep_images: DeepImages = "scale",
    truncated_images: Literal["refuse", "read"] = "refuse",
    exif_orientation: Literal["ignore", "apply"] = "ignore",
) -> LoadedImage:
    """Read, crop and shrink an image; never enlarged but by ``resize``.

    Args:
        path: image file.
        image_size: longer side in pixels that the image, or the crop of it, is reduced to; None = as it is.
        box: x1, y1, x2, y2 in pixels. PIL rounds each (half to even); what lies outside the image is black.
        resize: height and width that the whole image is brought to before it is cropped.
        deep_images, truncated_images, exif_orientation: as :func:`descbench.features.images.load_image`.

    Raises:
        DataError: as :func:`descbench.features.images.load_image`.

    Colours are resized by Pillow (bicubic), grey pixels by OpenCV (bilinear), which are ``grey`` of what is given.
    """
    truncated, upright = truncated_images == "read", exif_orientation == "apply"
    colours, note, unturned = read_whole(path, deep_images, truncated, upright)
    grey = _luma(path, truncated, upright) or Image.fromarray(to_read_grey(np.asarray(colours)))
    whole, corner = colours.size, (0, 0)
    if resize is not None:
        colours, grey = _resized(colours, grey, resize[::-1])
    before = colours.size
    if box is not None:
        corner = check_box(path, box, before)
        colours, grey = colours.crop(tuple(box)), grey.crop(tuple(box))
    cropped = colours.size
    if image_size is not None and max(cropped) > image_size:
        scale = image_size / max(cropped)
        size = tuple(max(1, round(side * scale)) for side in cropped)
        colours, grey = _resized(colours, grey, size)
    enlarged = [whole[axis] / before[axis] for axis in (0, 1)]
    ratio = tuple(enlarged[axis] * cropped[axis] / colours.size[axis] for axis in (0, 1))
    offset = tuple(enlarged[axis] * corner[axis] for axis in (0, 1))
    return LoadedImage(np.asarray(colours), offset, ratio, note, np.asarray(grey), unturned)


def to_point_tensor(image: LoadedImage, network: PointNetwork) -> torch.Tensor:
    """What a network of points takes of an image: (1, channels, H, W) float32, grey or colours, normalised."""
    pixels = image.pixels
    if network.channels == 1:
        pixels = (to_read_grey(pixels) if image.grey is None else image.grey)[..., None]
    return to_tensor(pixels, network.mean, network.std)[None]


def to_read_grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of (H, W, 3) uint8 in the order red, green, blue: what OpenCV reads of a file of such pixels.

    Files of JPEG have grey pixels of their own, which :func:`load_point_image` takes.
    """
    sums = sum(pixels[..., channel].astype(np.int32) * weight for channel, weight in enumerate(_WEIGHTS))
    return ((sums + (1 << (_BITS - 1))) >> _BITS).astype(np.uint8)


def _luma(path: str | os.PathLike[str], truncated: bool, upright: bool) -> Image.Image | None:
    """The grey pixels that a file of JPEG stores; None for other files, and for colours without them."""
    with reading_switches(truncated), Image.open(path) as opened:
        if opened.format != "JPEG" or opened.mode not in ("L", "RGB"):
            return None
        opened.draft("L", opened.size)
        grey = opened.copy() if opened.mode == "L" else None
        return turn_upright(grey, orientation_of(opened)) if grey is not None and upright else grey


def _resized(colours: Image.Image, grey: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Both, width and height as given."""
    reduced = cv2.resize(np.asarray(grey), size, interpolation=cv2.INTER_LINEAR)
    return colours.resize(size, Image.Resampling.BICUBIC), Image.fromarray(reduced)

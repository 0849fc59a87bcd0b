"""Reading an image the way the retrieval toolbox does (how.md section 2)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError

from descbench.errors import DataError
from descbench.io.image_formats import register_formats

# The originals evaluate with this switch on: a JPEG that ends early is read as far as it goes.
ImageFile.LOAD_TRUNCATED_IMAGES = True

Box = Sequence[float]


@dataclass(frozen=True)
class LoadedImage:
    """An image as the network sees it, and the way back to the original's pixels.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        offset: x, y of the crop's corner in the original image.
        ratio: x, y pixels of the original per pixel here.
    """

    pixels: np.ndarray
    offset: tuple[float, float]
    ratio: tuple[float, float]

    def to_original(self, points: np.ndarray) -> np.ndarray:
        """Map (n, 2) x, y from here to pixels of the original image."""
        return points * np.array(self.ratio, np.float32) + np.array(self.offset, np.float32)


def load_image(
    path: str | os.PathLike[str], image_size: int, box: Box | None = None, *, resize: tuple[int, int] | None = None
) -> LoadedImage:
    """Read, crop and shrink an image; never enlarged but by ``resize``, never rotated by EXIF.

    Args:
        path: image file.
        image_size: longer side in pixels of the *whole* image after shrinking; a crop is shrunk by the
            same factor.
        box: x1, y1, x2, y2 in pixels. PIL rounds each (half to even); what lies outside the image is
            black.
        resize: height and width that the (cropped) image is brought to bilinearly, whatever its shape, instead of
            ``image_size`` (Patch-NetVLAD: 480 x 640).

    Raises:
        DataError: the file is absent, empty, no image, too large to be one, or the crop has no area.

    Shrinking follows the installed Pillow, which rounds differently from the one of the published runs
    (sizes may differ by a pixel). 16-bit images are scaled to 8 bits, where plain conversion clips.
    """
    try:
        register_formats()
        with Image.open(path) as opened:
            image = _as_rgb(opened)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image.") from None
    except UnidentifiedImageError:
        size = Path(path).stat().st_size
        raise DataError(f"{path}: {size} bytes that are no image PIL can read; fetch the file again.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); fetch the file again.") from error
    target: float = image_size
    corner = (0, 0)
    if box is not None:
        longest = max(image.size)
        corners = [round(v) for v in box]
        if corners[2] <= corners[0] or corners[3] <= corners[1]:
            raise DataError(f"{path}: crop {tuple(box)} has no area; check the bounding box in the ground truth.")
        image, corner = image.crop(tuple(box)), (corners[0], corners[1])
        target = image_size * max(image.size) / longest
    before = image.size
    if resize is not None:
        image = image.resize(resize[::-1], Image.Resampling.BILINEAR)
    else:  # below one pixel Pillow has nothing to keep the aspect ratio with
        image.thumbnail((max(target, 1.0), max(target, 1.0)), Image.Resampling.LANCZOS)
    ratio = (before[0] / image.width, before[1] / image.height)
    return LoadedImage(np.asarray(image), corner, ratio)


def to_tensor(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32: divided by 255, mean subtracted, divided by std."""
    values = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float().div(255)
    columns = [torch.tensor(list(v), dtype=torch.float32)[:, None, None] for v in (mean, std)]
    return values.sub_(columns[0]).div_(columns[1])


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image, np.float64) / 257.0
        return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")

"""Small pictures of images for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from descbench.datasets.manifest import ManifestRow
from descbench.errors import DataError
from descbench.features.images import Box, LoadedImage, load_image
from descbench.tables.match_drawing import encode_picture

_SIZE = 160
_UNDER_LINES = 240


@dataclass(frozen=True)
class Picture:
    """A small picture as a data address, or the ``reason`` why there is none."""

    address: str = ""
    reason: str = ""


def thumbnails(root: Path, reading: Mapping[str, Any], on_bad_image: str) -> Callable[..., Picture]:
    """A function from a path below a folder, and a box where it is cropped, to its small picture; each is read once.

    Args:
        root: the folder, such as the one that the paths of a manifest are relative to.
        reading: ``reading_options`` of the features block, so that pictures are read as they were.
        on_bad_image: ``stop``: a picture that cannot be read is a DataError; ``skip``: it has a reason instead.
    """

    @cache
    def picture(path: str, box: Box | None = None) -> Picture:
        try:
            pixels = load_image(root / path, _SIZE, box, **reading).pixels
        except DataError as error:
            if on_bad_image == "stop":
                raise
            return Picture(reason=str(error))
        return Picture(encode_picture(pixels))

    return picture


def read_pictures(
    root: Path, reading: Mapping[str, Any], on_bad_image: str
) -> Callable[[ManifestRow], LoadedImage | str]:
    """A function from an image to its picture for lines between matches, cropped as its features were, or why there is
    none; each is read once. Arguments as of :func:`thumbnails`.
    """

    @cache
    def picture(row: ManifestRow) -> LoadedImage | str:
        try:
            return load_image(root / row.path, _UNDER_LINES, row.box, **reading)
        except DataError as error:
            if on_bad_image == "stop":
                raise
            return str(error)

    return picture

"""Images of more than 8 bits a value: 16 and 32 bit integers, and floats, which Pillow alone would clip to 0..255."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from descbench.errors import DataError

DeepImages = Literal["scale", "clip"]
_SAMPLE_FORMAT = 339  # TIFF tag: 1 is unsigned
_SIXTEEN = 65535


def to_eight_bits(image: Image.Image, deep: DeepImages) -> tuple[Image.Image, str]:
    """Bring grey values of more than 8 bits to 8 bits; other images come back as they are.

    ``scale``: the range that the values belong to becomes 0..255. That range is 0..65535 for 16 bit integers, and
    for wider ones and floats the smallest of 0..1 (floats only), 0..255 (floats only) and 0..65535 that holds
    all values, else the image's own. ``clip``: values are cut off at 0 and 255, as the originals do.

    Returns:
        the image, and how its values were scaled in words; empty where they were not.

    Raises:
        DataError: values that are not finite.
    """
    if not (image.mode.startswith("I;16") or image.mode in ("I", "F")):
        return image, ""
    kind = {"I": "32 bit integers", "F": "floats"}.get(image.mode, "16 bit integers")
    values = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and image.tag_v2.get(_SAMPLE_FORMAT, (1,)) in (1, (1,)):
        values = values.view(np.uint32)
    if not np.isfinite(values).all():
        raise DataError("some values are NaN or infinite; write the image again.")
    if deep == "clip":
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)), f"images of {kind}: clipped to 0..255"
    low, high, what = _range(values, image.mode)
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return Image.fromarray(np.round(scaled).astype(np.uint8)), f"images of {kind}: {what} is scaled to 0..255"


def _range(values: np.ndarray, mode: str) -> tuple[float, float, str]:
    """What becomes 0 and 255, and its name."""
    least, most = float(values.min()), float(values.max())
    known = {"F": (1, 255, _SIXTEEN), "I": (_SIXTEEN,)}.get(mode, (_SIXTEEN,))
    for high in known:
        if least >= 0 and most <= high:
            return 0.0, float(high), f"0..{high}"
    # A constant image has no range of its own.
    return least, most if most > least else least + 1, "each image's own range"

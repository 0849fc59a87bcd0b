"""Which files are images, by their endings: what the installed Pillow reads, HEIF too with pillow-heif."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from PIL import Image

# Pillow knows these by name but cannot decode them, or not without another program.
_NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}

# fmt: off
_SIDE_SUFFIXES = (
    ".aae", ".csv", ".db", ".gpx", ".h5", ".hdf", ".htm", ".html", ".ini", ".json", ".jsonl", ".kml", ".log", ".mat",
    ".md", ".npy", ".npz", ".pdf", ".pkl", ".py", ".rst", ".sh", ".tsv", ".txt", ".xml", ".xmp", ".yaml", ".yml",
)
# fmt: on
_SIDE_NAMES = frozenset(("copying", "icon\r", "licence", "license", "md5sums", "readme", "sha1sums", "sha256sums"))


@cache
def register_formats() -> None:
    """Have Pillow read HEIF, where pillow-heif is installed."""
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()


@cache
def image_suffixes() -> frozenset[str]:
    """Endings of the formats that can be read here, in lower case and with their dot."""
    register_formats()
    found = Image.registered_extensions()
    readable = (Image.OPEN.keys() | {"MPO"}) - _NOT_DECODED  # MPO is read by JPEG's own reader
    return frozenset(suffix for suffix, kind in found.items() if kind in readable)


def is_side_file(name: str) -> bool:
    """Whether a file is one that usually lies beside images and is none: notes, tables, what file managers leave."""
    lower = name.lower()
    return name.startswith("._") or lower in _SIDE_NAMES or lower.endswith(_SIDE_SUFFIXES)


def is_image(path: str) -> bool:
    """Whether Pillow recognises an image by the first bytes of a file, whatever its name."""
    register_formats()
    try:
        with Image.open(path) as image:
            return image.format not in _NOT_DECODED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False

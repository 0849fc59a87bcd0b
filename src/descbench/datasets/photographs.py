"""What lies in a folder of photographs: the images, and what is left out of them with the reason why.

Light on purpose: the workflow lists folders when it plans the shards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.io.image_formats import image_suffixes, is_image, is_side_file

_SHOWN = 5


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is no part of a dataset, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})"


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        images: in order of their path, POSIX, relative to the folder.
        bad: what may be a photograph and cannot be read as one.
        hidden: what was passed over on purpose: hidden images, and folders that links lead to a second time.
    """

    images: list[str] = field(default_factory=list)
    bad: list[LeftOut] = field(default_factory=list)
    hidden: list[LeftOut] = field(default_factory=list)


def find_photographs(folder: Path, without: Path | None = None) -> Found:
    """Look through a folder in depth, but for what lies below ``without``.

    A file is an image by its ending (any case), or, without an ending, by its first bytes. Links are followed; a
    folder is entered once. Files that usually lie beside photographs (notes, tables, thumbnails of file managers)
    are passed over; everything else is listed, as bad or as hidden.

    Raises:
        DataError: no such folder, or a file in its place.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file, where a folder of images is needed; correct the path in this dataset.")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; correct the paths of this dataset in the configuration.")
    found = Found()
    base = folder.resolve()
    for path in _files(base, found):
        if without is None or not path.is_relative_to(without):
            _sort_in(path, path.relative_to(base).as_posix(), found)
    for items in (found.images, found.bad, found.hidden):
        items.sort(key=str)
    return found


def refuse_bad(bad: Sequence[LeftOut], folder: Path) -> None:
    """Refuse a folder that holds what cannot be read.

    Raises:
        DataError: names the first of them.
    """
    if bad:
        raise DataError(
            f"{folder}: {len(bad)} {'entry' if len(bad) == 1 else 'entries'} of this folder cannot be read as images: "
            f"{shown(bad)}. Convert or remove them, or set `on_bad_file: skip` in the block of this dataset: then they "
            "are left out, and scores and tables say so."
        )


def shown(items: Sequence[LeftOut]) -> str:
    """The first of several, in words."""
    return ", ".join(map(str, items[:_SHOWN])) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def _files(base: Path, found: Found) -> Iterator[Path]:
    """Files below a folder, hidden ones too, but none in hidden folders. Folders that are not entered are noted."""

    def unreadable(error: OSError) -> None:
        found.bad.append(LeftOut(_text(os.path.relpath(error.filename, base)), f"folder: {error.strerror}"))

    entered: set[str] = set()
    for current, folders, files in os.walk(base, followlinks=True, onerror=unreadable):
        entered.add(os.path.realpath(current))
        inside = []
        for name in sorted(folders):
            path = Path(current, name)
            if name.startswith("."):
                found.hidden += _hidden_images(path, base)
            elif os.path.realpath(path) in entered:
                found.hidden.append(LeftOut(_text(path.relative_to(base)), "link to a folder that is listed already"))
            else:
                inside.append(name)
        folders[:] = inside
        yield from (Path(current, name) for name in files)


def _hidden_images(folder: Path, base: Path) -> list[LeftOut]:
    """One note of a hidden folder that holds images."""
    holds = any(_suffix(name) in image_suffixes() for _, _, files in os.walk(folder) for name in files)
    return [LeftOut(_text(folder.relative_to(base)), "hidden folder with images")] if holds else []


def _sort_in(path: Path, name: str, found: Found) -> None:
    """File one name under images, bad or hidden; side files under none."""
    if path.name.startswith("."):
        if _suffix(path.name) in image_suffixes() and not is_side_file(path.name):
            found.hidden.append(LeftOut(_text(name), "hidden file"))
        return
    if is_side_file(path.name):
        return
    reason = _why_bad(path, name)
    if reason is None:
        found.images.append(name)
    else:
        found.bad.append(LeftOut(_text(name), reason))


def _why_bad(path: Path, name: str) -> str | None:
    """Why a file cannot be an image of the dataset; None where it can."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "link to nowhere" if path.is_symlink() else str(error.strerror)
    if not stat.S_ISREG(mode):
        return "no regular file"
    if not os.access(path, os.R_OK):
        return "no permission to read it"
    suffix = _suffix(name)
    if suffix and suffix not in image_suffixes():
        return f"{suffix} is no format that is read here" + _advice(suffix)
    if not suffix and not is_image(os.fspath(path)):
        return "no ending, and no image by its first bytes"
    try:
        safe_relative(name, path)
    except DataError:
        return "its name is not valid Unicode, or begins with a backslash"
    return None


def _advice(suffix: str) -> str:
    return "; install pillow-heif" if suffix in (".heic", ".heif", ".hif") else ""


def _suffix(name: str) -> str:
    """The ending in lower case; what follows a dot is none where it holds a blank or @ (positions in names)."""
    suffix = PurePosixPath(name).suffix.lower()
    return "" if any(character in suffix for character in " @") else suffix


def _text(path: str | os.PathLike[str]) -> str:
    """A path as text that can be printed and stored, whatever its bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

"""What lies in a folder of photographs: the images, and what is left out of them with the reason why.

Light on purpose: the workflow lists folders when it plans the shards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from descbench.datasets.labels import safe_relative
from descbench.errors import DataError
from descbench.io.image_formats import image_suffixes, is_image, is_side_file
from descbench.listing import in_list

_SHOWN = 5


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not part of a dataset, and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{in_list(self.path)} ({self.reason})"


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
    base = os.path.realpath(folder)
    avoided = None if without is None else f"{without}/"
    for path in _files(base, found):
        if avoided is None or not path.startswith(avoided):
            _sort_in(path, path[len(base) :].lstrip("/"), found)
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
            f"{shown(bad)}. Convert or remove them, or set `on_bad_file: skip` in the block of this dataset "
            "(`--on-bad-file skip` of a command): then they are left out, and scores and tables say so."
        )


def shown(items: Sequence[LeftOut]) -> str:
    """The first of several, in words."""
    return ", ".join(map(str, items[:_SHOWN])) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


# Texts instead of Path objects from here on: a folder of tens of thousands is listed at every start.


def _files(base: str, found: Found) -> Iterator[str]:
    """Files below a folder, hidden ones too, but none in hidden folders. Folders that are not entered are noted."""

    def unreadable(error: OSError) -> None:
        found.bad.append(LeftOut(_text(os.path.relpath(error.filename, base)), f"folder: {error.strerror}"))

    known = {base}
    for current, folders, files in os.walk(base, followlinks=True, onerror=unreadable):
        inside = []
        for name in sorted(folders):
            path = f"{current}/{name}"
            real = os.path.realpath(path)
            if name.startswith("."):
                found.hidden += _hidden_images(path, base)
            elif real in known or (os.path.islink(path) and _is_listed(real, base)):  # noqa: PTH114
                found.hidden.append(LeftOut(_text(os.path.relpath(path, base)), "link to a folder listed already"))
            else:
                inside.append(name)
                known.add(real)
        folders[:] = inside
        yield from (f"{current}/{name}" for name in files)


def _is_listed(real: str, base: str) -> bool:
    """Whether a folder is listed by its own name: it lies below the base, in no hidden folder."""
    return real.startswith(f"{base}/") and "/." not in real[len(base) :]


def _hidden_images(folder: str, base: str) -> list[LeftOut]:
    """One note of a hidden folder that holds images."""
    holds = any(_suffix(name) in image_suffixes() for _, _, files in os.walk(folder) for name in files)
    return [LeftOut(_text(os.path.relpath(folder, base)), "hidden folder with images")] if holds else []


def _sort_in(path: str, name: str, found: Found) -> None:
    """File one name under images, bad or hidden; side files under none."""
    last = name.rsplit("/", 1)[-1]
    suffix = _suffix(last)
    if last.startswith("."):
        if suffix in image_suffixes() and not is_side_file(last):
            found.hidden.append(LeftOut(_text(name), "hidden file"))
        return
    if suffix not in image_suffixes() and is_side_file(last):
        return
    reason = _why_bad(path, name, suffix)
    if reason is None:
        found.images.append(name)
    else:
        found.bad.append(LeftOut(_text(name), reason))


def _why_bad(path: str, name: str, suffix: str) -> str | None:
    """Why a file cannot be an image of the dataset; None where it can."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        return "link to nowhere" if Path(path).is_symlink() else str(error.strerror)
    if not stat.S_ISREG(mode):
        return "no regular file"
    if not os.access(path, os.R_OK):
        return "no permission to read it"
    if suffix and suffix not in image_suffixes():
        return f"{suffix} is not a format that is read here" + _advice(suffix)
    if not suffix and not is_image(path):
        return "no ending, and no image by its first bytes"
    try:
        safe_relative(name, Path(path))
    except DataError:
        return "its name is not valid Unicode, or begins with a backslash"
    return None


def _advice(suffix: str) -> str:
    return "; install pillow-heif" if suffix in (".heic", ".heif", ".hif") else ""


def _suffix(name: str) -> str:
    """The ending in lower case; what follows a dot is none where it holds a blank or @ (positions in names)."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    return "" if suffix == "." or " " in suffix or "@" in suffix else suffix


def _text(path: str) -> str:
    """A path as text that can be printed and stored, whatever its bytes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")

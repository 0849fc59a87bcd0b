"""HPatches sequences: six images of a scene and the homographies from the first to the others (docs/data.md)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from descbench.config.datasets import HPatchesSequencesDataset
from descbench.datasets.image_pairs import Homography, ImagePair
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines
from descbench.listing import listed

IMAGES = 6
# Illumination and viewpoint: the protocol averages over both kinds.
PREFIXES = ("i_", "v_")


@dataclass(frozen=True)
class _Layout:
    """Names of files, from the number of an image and one of several suffixes, and what names of folders begin with."""

    image: str
    suffixes: tuple[str, ...]
    homography: str
    prefixes: tuple[str, ...]


_LAYOUTS = {
    "hpatches": _Layout("{}.{}", ("ppm",), "H_1_{}", PREFIXES),
    "vgg": _Layout("img{}.{}", ("ppm", "pgm", "png", "jpg"), "H1to{}p", ()),
}
_ADVICE = "unpack the sequences again, or name it in `exclude`."


@dataclass(frozen=True)
class SequenceFiles:
    """What a sequence has.

    Attributes:
        name: of its folder.
        images: number -> file name, ascending; the first is 1.
        homographies: number -> name of the file of the homography from image 1, for images that are there.
    """

    name: str
    images: Mapping[int, str]
    homographies: Mapping[int, str]


def read_hpatches_sequences(dataset: HPatchesSequencesDataset, datasets_dir: Path) -> tuple[Manifest, None]:
    """Manifest of the images: sequences by name, images 1 to 6 of each; there are no ranking labels.

    Raises:
        DataError: the folder is absent or holds no sequence, a sequence is incomplete or its name tells no kind, or
            a name in ``exclude`` is none of its folders.
    """
    sequences = find_sequences(dataset, datasets_dir)
    names = [f"{dataset.images}/{found.name}/{image}" for found in sequences for image in found.images.values()]
    return Manifest(tuple(rows_of("database", names))), None


def read_hpatches_pairs(dataset: HPatchesSequencesDataset, datasets_dir: Path) -> Iterator[ImagePair]:
    """The pairs (1, k) of each sequence, k from 2 to 6, with the homography of file ``H_1_k`` (or ``H1tokp``).

    Ids are those of the manifest of :func:`read_hpatches_sequences`.

    Raises:
        DataError: as there, and where a file holds no homography.
    """
    first = 0
    for found in find_sequences(dataset, datasets_dir):
        for position, number in enumerate(found.images):
            if number in found.homographies:
                path = datasets_dir / dataset.images / found.name / found.homographies[number]
                yield ImagePair(first, first + position, read_homography(path))
        first += len(found.images)


def read_homography(path: Path) -> Homography:
    """A text file of three lines of three numbers.

    Raises:
        DataError: it is absent, of another shape, singular, or holds what is not a finite number.
    """
    try:
        rows = [line.split() for line in read_lines(path) if line.strip()]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such homography; {_ADVICE}") from None
    if [len(row) for row in rows] != [3, 3, 3]:
        raise DataError(f"{path}: not three lines of three numbers, so no homography; {_ADVICE}")
    try:
        return Homography.from_text(" ".join(word for row in rows for word in row))
    except ValueError as error:
        raise DataError(f"{path}: no homography ({shorten(error)}); {_ADVICE}") from None


def find_sequences(dataset: HPatchesSequencesDataset, datasets_dir: Path) -> list[SequenceFiles]:
    """The sequences, sorted by name, without those that are excluded.

    Raises:
        DataError: see :func:`read_hpatches_sequences`.
    """
    folder = datasets_dir / dataset.images
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of sequences; unpack its source again.")
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for path in entries:
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path}: a link that leads nowhere; remove it, or put the sequence in its place.")
    found = sorted(path.name for path in entries if path.is_dir())
    for name in dataset.exclude:
        if name not in found:
            close = difflib.get_close_matches(name, found, n=3)
            hint = f"; close names: {listed(close)}" if close else ""
            raise DataError(f"{folder}: `exclude` names {name!r}, which is not a sequence there{hint}; correct it.")
    kept = [safe_relative(name, folder) for name in found if name not in dataset.exclude]
    if not kept:
        raise DataError(f"{folder}: holds no sequences; unpack its source again, or see `exclude`.")
    return [_find_files(folder / name, dataset) for name in kept]


def _find_files(folder: Path, dataset: HPatchesSequencesDataset) -> SequenceFiles:
    layout = _LAYOUTS[dataset.layout]
    if layout.prefixes and not folder.name.startswith(layout.prefixes):
        kinds = " nor ".join(layout.prefixes)
        raise DataError(f"{folder}: the name of a sequence begins with neither {kinds}: {_ADVICE}")
    images, homographies, missing = {}, {}, []
    for number in range(1, IMAGES + 1):
        wanted = [layout.image.format(number, suffix) for suffix in layout.suffixes]
        found = [name for name in wanted if (folder / name).is_file()]
        if len(found) > 1:
            raise DataError(f"{folder}: has {found[0]} and {found[1]}, which are one image; remove one of them.")
        if found:
            images[number] = found[0]
        else:
            missing.append(" or ".join(wanted))
        name = layout.homography.format(number)
        if number > 1 and found and (folder / name).is_file():
            homographies[number] = name
        elif number > 1 and not (folder / name).is_file():
            missing.append(name)
    if missing and (dataset.incomplete == "refuse" or 1 not in images or not homographies):
        raise DataError(f"{folder}: the sequence has no {', '.join(missing)}; {_ADVICE}")
    return SequenceFiles(folder.name, images, homographies)

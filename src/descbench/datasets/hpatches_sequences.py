"""HPatches sequences: six images of a scene and the homographies from the first to the others (docs/data.md)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from descbench.config.datasets import HPatchesSequencesDataset
from descbench.datasets.image_pairs import Homography, ImagePair
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.errors import DataError
from descbench.io.kinds import shorten
from descbench.io.texts import read_lines

IMAGES = 6
# Illumination and viewpoint: the protocol averages over both kinds.
PREFIXES = ("i_", "v_")
_ADVICE = "unpack the sequences again, or name it in `exclude`."


def read_hpatches_sequences(dataset: HPatchesSequencesDataset, datasets_dir: Path) -> tuple[Manifest, None]:
    """Manifest of the images: sequences by name, ``1.ppm`` to ``6.ppm`` of each; there are no ranking labels.

    Raises:
        DataError: the folder is absent or holds no sequence, a sequence is incomplete or its name tells no kind, or
            a name in ``exclude`` is none of its folders.
    """
    sequences = list_sequences(dataset, datasets_dir)
    names = [f"{dataset.images}/{name}/{k}.ppm" for name in sequences for k in range(1, IMAGES + 1)]
    return Manifest(tuple(rows_of("database", names))), None


def read_hpatches_pairs(dataset: HPatchesSequencesDataset, datasets_dir: Path) -> Iterator[ImagePair]:
    """The pairs (1, k) of each sequence, k from 2 to 6, with the homography of file ``H_1_k``.

    Ids are those of the manifest of :func:`read_hpatches_sequences`.

    Raises:
        DataError: as there, and where a file holds no homography.
    """
    for number, name in enumerate(list_sequences(dataset, datasets_dir)):
        for k in range(2, IMAGES + 1):
            path = datasets_dir / dataset.images / name / f"H_1_{k}"
            yield ImagePair(number * IMAGES, number * IMAGES + k - 1, read_homography(path))


def read_homography(path: Path) -> Homography:
    """A text file of three lines of three numbers.

    Raises:
        DataError: it is absent, of another shape, singular, or holds what is no finite number.
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


def list_sequences(dataset: HPatchesSequencesDataset, datasets_dir: Path) -> list[str]:
    """Names of the sequences, sorted, without those that are excluded.

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
            hint = f"; close names: {', '.join(close)}" if close else ""
            raise DataError(f"{folder}: `exclude` names {name!r}, which is no sequence there{hint}. Correct the name.")
    kept = [safe_relative(name, folder) for name in found if name not in dataset.exclude]
    if not kept:
        raise DataError(f"{folder}: holds no sequences; unpack its source again, or see `exclude`.")
    for name in kept:
        _check_sequence(folder / name)
    return kept


def _check_sequence(folder: Path) -> None:
    if not folder.name.startswith(PREFIXES):
        kinds = " nor ".join(PREFIXES)
        raise DataError(f"{folder}: the name of a sequence begins with neither {kinds}: {_ADVICE}")
    wanted = [f"{k}.ppm" for k in range(1, IMAGES + 1)] + [f"H_1_{k}" for k in range(2, IMAGES + 1)]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: the sequence has no {', '.join(missing)}; {_ADVICE}")

"""Images named by a text file, one relative path a line (R1M)."""

from __future__ import annotations

from pathlib import Path

from descbench.config.datasets import ImageListDataset
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.errors import DataError
from descbench.io.texts import read_lines


def read_image_list(dataset: ImageListDataset, datasets_dir: Path) -> tuple[Manifest, None]:
    """Manifest of database images, in the order of the lines; empty lines are passed over.

    Raises:
        DataError: the list is absent, empty, no text, or names a file outside the folder.
    """
    path = datasets_dir / dataset.list
    try:
        lines = [line.strip() for line in read_lines(path)]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such list of images; unpack its source again.") from None
    except DataError as error:
        raise DataError(f"{error} As it is, it is not a list of images.") from None
    names = [f"{dataset.images}/{safe_relative(line, path)}" for line in lines if line]
    if not names:
        raise DataError(f"{path}: the list names no image; fetch it again.")
    return Manifest(tuple(rows_of("database", names))), None

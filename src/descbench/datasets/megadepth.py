"""Images of MegaDepth as prepared for HNDesc: folders of images, stylised copies and keypoints (docs/data.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from descbench.config.datasets import MegaDepthDataset
from descbench.datasets.crop_labels import CropLabels, Extras
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, rows_of
from descbench.errors import DataError
from descbench.listing import listed

# Roles, and the folders that hold their images.
FOLDERS = {"train": "train", "val": "test"}
_SUFFIX = ".jpg"
_NAMED = 5


def read_megadepth(dataset: MegaDepthDataset, datasets_dir: Path) -> tuple[Manifest, CropLabels]:
    """Manifest of the images, sorted by path, with the stylised copy and the keypoints of each.

    Images of ``test`` have no stylised copy: the validation takes none.

    Raises:
        DataError: the folder of training images is absent or empty, or images have no keypoints where there are some.
    """
    rows, items = [], []
    for role, folder in FOLDERS.items():
        names = sorted(_list_images(datasets_dir / dataset.images / folder))
        if role == "train" and not names:
            raise DataError(
                f"{datasets_dir / dataset.images / folder}: holds no {_SUFFIX} image to train on; unpack it again."
            )
        rows += rows_of(role, [f"{dataset.images}/{folder}/{name}" for name in names])
        items += [_extras(dataset, datasets_dir, role, name) for name in names]
    if dataset.keypoints is not None:
        _check_keypoints(items, datasets_dir)
    return Manifest(tuple(rows)), CropLabels(tuple(items))


def _list_images(folder: Path) -> Iterator[str]:
    """Paths of images below a folder; hidden files are none."""
    for place, _, files in os.walk(folder):
        below = PurePosixPath(Path(place).relative_to(folder).as_posix())
        for name in files:
            if name.endswith(_SUFFIX) and not name.startswith("."):
                yield safe_relative(str(below / name), folder)


def _extras(dataset: MegaDepthDataset, datasets_dir: Path, role: str, name: str) -> Extras:
    copy = f"{dataset.stylised}/{FOLDERS[role]}/{name}"
    has_copy = dataset.stylised is not None and role == "train" and (datasets_dir / copy).is_file()
    points = f"{dataset.keypoints}/{name.removesuffix(_SUFFIX)}.pkl"
    return Extras(copy if has_copy else None, None if dataset.keypoints is None else points)


def _check_keypoints(items: list[Extras], datasets_dir: Path) -> None:
    missing = [item.keypoints for item in items if not (datasets_dir / item.keypoints).is_file()]
    if missing:
        raise DataError(
            f"{datasets_dir}: {len(missing)} of {len(items)} images have no keypoints: {listed(missing, _NAMED)}. "
            "Unpack them again, or leave `keypoints` of the dataset out and name features that find them in the "
            "training."
        )

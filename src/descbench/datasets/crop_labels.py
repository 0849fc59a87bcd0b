"""What single images to train on come with: a stylised copy, and keypoints. One JSON file beside the manifest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest
from descbench.errors import DataError
from descbench.io.jsonfiles import as_record, read_json, write_checked_json
from descbench.io.kinds import shorten
from descbench.io.pickles import load_pickle

_MOST_KEYPOINTS = 1_000_000


@dataclass(frozen=True)
class Extras:
    """Files of an image, relative to the root of its manifest; None where there is none.

    Attributes:
        stylised: copy in another style, of the same size.
        keypoints: pickle of its keypoints.
    """

    stylised: str | None
    keypoints: str | None


@dataclass(frozen=True)
class CropLabels:
    """Of every image of a manifest, in the order of its rows."""

    items: tuple[Extras, ...]

    def of_role(self, manifest: Manifest, role: str) -> tuple[Extras, ...]:
        """Those of the images of a role."""
        return tuple(item for item, row in zip(self.items, manifest.rows, strict=True) if row.role == role)


@dataclass(frozen=True)
class _LabelsFile:
    protocol: str
    images: list[tuple[str | None, str | None]]


def write_crop_labels(labels: CropLabels, path: str | os.PathLike[str]) -> None:
    """Write them as JSON, atomically, in the place of a ground truth."""
    images = [[item.stylised, item.keypoints] for item in labels.items]
    write_checked_json(path, {"protocol": "crops", "images": images})


def read_crop_labels(path: str | os.PathLike[str], manifest: Manifest) -> CropLabels:
    """Read what :func:`write_crop_labels` wrote.

    Args:
        path: of the file.
        manifest: whose images it is of.

    Raises:
        DataError: the file holds something else, is of another number of images, or names files outside the root.
    """
    value = read_json(path, "file of training images")
    if value.get("protocol") != "crops":
        raise DataError(f"{path}: tells of no training images; hndesc needs a dataset of format megadepth.")
    images = as_record(_LabelsFile, value, path, "file of training images").images
    if len(images) != len(manifest):
        raise DataError(f"{path}: is of {len(images)} images, and the manifest of {len(manifest)}; build both again.")
    for name in (name for names in images for name in names if name is not None):
        safe_relative(name, Path(path))
    return CropLabels(tuple(Extras(*names) for names in images))


def read_keypoints(path: Path) -> np.ndarray:
    """Keypoints (N, 2) float32 x, y in pixels, of a pickle with an array (N, 3) or (N, 3, 1) of rows x, y, 1.

    Raises:
        DataError: the file is absent, no such pickle, or holds what is not a finite place.
    """
    found = load_pickle(path)
    advice = "fetch or make it again."
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.size > 3 * _MOST_KEYPOINTS:
        raise DataError(f"{path}: holds {shorten(type(found).__name__)}, not an array of keypoints; {advice}")
    if found.shape[1:] not in ((3,), (3, 1)):
        raise DataError(f"{path}: an array of shape {found.shape}, not of rows x, y, 1; {advice}")
    points = found.reshape(-1, 3)
    if not np.isfinite(points).all() or (points[:, 2] != 1).any():
        raise DataError(f"{path}: rows that are not finite, or do not end in 1, are not keypoints; {advice}")
    return points[:, :2].astype(np.float32)

"""Datasets that are folders of the user's: they can be listed before anything has run.

Light on purpose: the workflow lists them when it plans the shards.
"""

from __future__ import annotations

from pathlib import Path

from descbench.config.datasets import Dataset, FolderDataset, KaptureDataset, UtmNamesDataset
from descbench.datasets.folder import folder_root, list_images
from descbench.datasets.kapture import kapture_root, list_records
from descbench.datasets.utm_names import list_utm_names, utm_root

OwnDataset = FolderDataset | KaptureDataset | UtmNamesDataset


def is_own(dataset: Dataset) -> bool:
    """Whether a dataset is a folder of the user's."""
    return isinstance(dataset, OwnDataset)


def own_root(dataset: OwnDataset) -> Path:
    """Folder that the paths of its manifest are relative to."""
    match dataset:
        case FolderDataset():
            return folder_root(dataset)
        case KaptureDataset():
            return kapture_root(dataset)
        case UtmNamesDataset():
            return utm_root(dataset)


def list_own(dataset: OwnDataset) -> dict[str, list[str]]:
    """Its images by role, in order, as paths relative to :func:`own_root`.

    Raises:
        DataError: a folder or a list in it is absent, empty or malformed.
    """
    match dataset:
        case FolderDataset():
            return list_images(dataset)
        case KaptureDataset():
            return {"database": list_records(dataset)}
        case UtmNamesDataset():
            return list_utm_names(dataset)

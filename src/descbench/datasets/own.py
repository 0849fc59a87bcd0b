"""Datasets that are folders of the user's: they can be listed before anything has run.

Light on purpose: the workflow lists them when it plans the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from descbench.config.datasets import Dataset, FolderDataset, KaptureDataset, UtmNamesDataset
from descbench.config.labelled_datasets import FramesDataset, LabelledFolders, PositivesDataset
from descbench.config.posed_datasets import ColmapDataset, KaptureMapDataset
from descbench.datasets.contents import contents_of
from descbench.datasets.folder import folder_root, list_folder, read_folder
from descbench.datasets.frames import label_frames, label_positives, labelled_root, list_labelled
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.kapture import kapture_root, read_kapture
from descbench.datasets.manifest import Manifest, rows_of
from descbench.datasets.own_maps import colmap_root, kapture_map_root, read_colmap_map, read_kapture_map
from descbench.datasets.photographs import LeftOut
from descbench.datasets.places import PlaceLabels
from descbench.datasets.pose_labels import PoseLabels
from descbench.datasets.positions import label_places, positions_of
from descbench.datasets.recall_labels import PositiveLabels
from descbench.datasets.utm_names import list_utm_names, read_utm_names, utm_root
from descbench.io.digests import digest_of

OwnDataset = FolderDataset | KaptureDataset | UtmNamesDataset | LabelledFolders | ColmapDataset | KaptureMapDataset
Labels = GroundTruth | PlaceLabels | PositiveLabels | PoseLabels


@dataclass(frozen=True)
class OwnImages:
    """What a dataset of the user's holds.

    Attributes:
        manifest: of its images.
        labels: of a ground truth beside it.
        left_out: files that are not part of it, in words.
        asks_itself: see :class:`descbench.datasets.folder.Listing`.
    """

    manifest: Manifest
    labels: GroundTruth | PositiveLabels | PoseLabels | None = None
    left_out: tuple[LeftOut, ...] = ()
    asks_itself: bool = False


def is_own(dataset: Dataset) -> bool:
    """Whether a dataset is a folder of the user's."""
    return dataset.IS_LISTED


def own_root(dataset: OwnDataset) -> Path:
    """Folder that the paths of its manifest are relative to."""
    return _FORMATS[dataset.format].root(dataset)


def list_own(dataset: OwnDataset) -> OwnImages:
    """Its images, in order, with paths relative to :func:`own_root`; their content is not looked at.

    Raises:
        DataError: a folder or a list in it is absent, empty or malformed.
    """
    return _FORMATS[dataset.format].list(dataset)


def label_own(dataset: OwnDataset, own: OwnImages) -> Labels | None:
    """Labels of a dataset: those of its ground truth, or of the positions in its names."""
    return _FORMATS[dataset.format].label(dataset, own)


def _list_folder(dataset: FolderDataset) -> OwnImages:
    listing = list_folder(dataset)
    return OwnImages(*read_folder(dataset, listing), listing.left_out, listing.asks_itself)


def _list_kapture(dataset: KaptureDataset) -> OwnImages:
    manifest, left_out = read_kapture(dataset)
    return OwnImages(manifest, left_out=left_out)


def _list_utm_names(dataset: UtmNamesDataset) -> OwnImages:
    listing = list_utm_names(dataset)
    return OwnImages(read_utm_names(listing), None, listing.left_out, listing.asks_itself)


def _label_utm_names(dataset: UtmNamesDataset, own: OwnImages) -> PlaceLabels:
    labels = label_places(positions_of(own.manifest, str(dataset.database)), dataset)
    return labels.without_itself() if own.asks_itself else labels


def _list_labelled(
    dataset: LabelledFolders, label: Callable[[Any, Mapping[str, Sequence[str]]], PositiveLabels]
) -> OwnImages:
    listing = list_labelled(dataset)
    labels = label(dataset, listing.images)
    rows = [row for role in ("query", "database") for row in rows_of(role, listing.images[role])]
    labels = labels.without_itself() if listing.asks_itself else labels
    return OwnImages(Manifest(tuple(rows)), labels, listing.left_out, listing.asks_itself)


def _list_frames(dataset: FramesDataset) -> OwnImages:
    return _list_labelled(dataset, label_frames)


def _list_positives(dataset: PositivesDataset) -> OwnImages:
    return _list_labelled(dataset, label_positives)


@dataclass(frozen=True)
class _Format:
    """What is done with a folder of the user's, by its format."""

    root: Callable[[Any], Path]
    list: Callable[[Any], OwnImages]
    label: Callable[[Any, OwnImages], Labels | None] = lambda dataset, own: own.labels


_FORMATS: Mapping[str, _Format] = {
    "folder": _Format(folder_root, _list_folder),
    "kapture": _Format(kapture_root, _list_kapture),
    "utm_names": _Format(utm_root, _list_utm_names, _label_utm_names),
    "frames": _Format(labelled_root, _list_frames),
    "positives": _Format(labelled_root, _list_positives),
    "colmap": _Format(colmap_root, lambda dataset: OwnImages(*read_colmap_map(dataset))),
    "kapture_map": _Format(kapture_map_root, lambda dataset: OwnImages(*read_kapture_map(dataset))),
}


def with_contents(manifest: Manifest, root: Path, records: Path) -> Manifest:
    """The manifest with the content of every image.

    Args:
        manifest: of a dataset of the user's.
        root: its :func:`own_root`.
        records: what is known of the images, see :func:`descbench.datasets.contents.contents_of`.
    """
    contents = contents_of([f"{root}/{row.path}" for row in manifest.rows], records)
    return Manifest(tuple(replace(row, content=c) for row, c in zip(manifest.rows, contents, strict=True)))


def list_with_contents(dataset: OwnDataset, records: Path) -> Manifest:
    """Manifest of a dataset with the content of every image, as :func:`list_own` and :func:`with_contents` give it."""
    return with_contents(list_own(dataset).manifest, own_root(dataset), records)


def listing_digest(manifest: Manifest, own: OwnImages) -> str:
    """Digest of all that a dataset of the user's holds: images with their content, labels, and what is left out."""
    labels = None if own.labels is None else own.labels.plain()
    return digest_of([manifest.digest(), labels, [[item.path, item.reason] for item in own.left_out]])

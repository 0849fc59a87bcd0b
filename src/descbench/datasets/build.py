"""Build the manifest and the ground truth of a dataset, whatever its official format."""

from __future__ import annotations

import logging
from pathlib import Path

from descbench.config.datasets import (
    Dataset,
    DbStructDataset,
    DescriptorBagDataset,
    FolderDataset,
    ImageListDataset,
    KaptureDataset,
    RevisitopDataset,
    Sfm120kDataset,
    SfmValDataset,
    UtmNamesDataset,
)
from descbench.datasets.dbstruct import read_dbstruct
from descbench.datasets.folder import read_folder
from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.image_list import read_image_list
from descbench.datasets.kapture import read_kapture
from descbench.datasets.manifest import Manifest, check_counts, rows_of, write_manifest
from descbench.datasets.pairs import TrainingPairs, write_pairs
from descbench.datasets.places import PlaceLabels, write_places
from descbench.datasets.positions import label_places, positions_of
from descbench.datasets.revisitop import read_revisitop
from descbench.datasets.sfm120k import read_sfm120k, read_sfm_val
from descbench.datasets.utm_names import read_utm_names
from descbench.errors import DataError

Labels = GroundTruth | PlaceLabels | TrainingPairs | None


def build_manifest(
    name: str, dataset: Dataset, datasets_dir: Path, manifest_path: Path, ground_truth_path: Path
) -> None:
    """Write the manifest CSV and the ground-truth JSON of a dataset.

    Args:
        name: of the dataset, for messages.
        dataset: its block of the configuration.
        datasets_dir: ``<data_dir>/datasets``.
        manifest_path, ground_truth_path: the two files; the second holds the pairs of a training set, which
            images show a query's place where positions are known, and ``null`` for a dataset without labels.

    Raises:
        DataError: the official files are damaged, have other counts than the catalogue says, or labels
            that point outside the database.
    """
    manifest, labels = read_dataset(dataset, datasets_dir)
    _check_counts(name, dataset, manifest)
    if isinstance(labels, GroundTruth):
        num = {role: len(manifest.of_role(role)) for role in ("query", "database")}
        labels.check(num["query"], num["database"], f"datasets.{name}")
    write_manifest(manifest, manifest_path)
    match labels:
        case TrainingPairs():
            write_pairs(labels, ground_truth_path)
        case PlaceLabels():
            _report_places(name, labels)
            write_places(labels, ground_truth_path)
        case _:
            write_ground_truth(labels, ground_truth_path)
    logging.info("%s: %d images", name, len(manifest))


def _report_places(name: str, labels: PlaceLabels) -> None:
    """Say what the labels hold: the classic faults of a list are queries that nothing is right for."""
    queries, alone = len(labels.positives), labels.without_positive()
    usable = sum(map(bool, labels.training_positives))
    logging.info("%s: right within %g m; %d of %d queries usable in training", name, labels.radius, usable, queries)
    if alone:
        logging.warning(
            "%s: %d of %d queries have no database image within %g m; they count as missed.",
            name,
            alone,
            queries,
            labels.radius,
        )


def _check_counts(name: str, dataset: Dataset, manifest: Manifest) -> None:
    try:
        check_counts(manifest, dict(dataset.counts), f"datasets.{name}")
    except DataError as error:
        if dataset.counts_verified:
            raise
        # Shards of what is searched as a whole are cut by the counts: images beyond them would silently be left out.
        for role in ("query", "database"):
            found = len(manifest.of_role(role))
            if found > dataset.counts.get(role, found):
                raise DataError(
                    f"{error} The counts were never verified: set datasets.{name}.counts.{role} to {found}."
                ) from None
        logging.warning("%s (The catalogue's counts of this dataset were never verified, so this may be fine.)", error)


def read_dataset(dataset: Dataset, datasets_dir: Path) -> tuple[Manifest, Labels]:
    """Read the official files of a dataset: its images, and its labels or training pairs."""
    match dataset:
        case RevisitopDataset():
            return read_revisitop(dataset, datasets_dir)
        case Sfm120kDataset():
            return read_sfm120k(dataset, datasets_dir)
        case SfmValDataset():
            return read_sfm_val(dataset, datasets_dir)
        case ImageListDataset():
            return read_image_list(dataset, datasets_dir)
        case FolderDataset():
            return read_folder(dataset)
        case DbStructDataset():
            return read_dbstruct(dataset, datasets_dir)
        case UtmNamesDataset():
            manifest = read_utm_names(dataset)
            return manifest, label_places(positions_of(manifest, str(dataset.database)), dataset)
        case KaptureDataset():
            return read_kapture(dataset), None
        case DescriptorBagDataset():
            return Manifest(tuple(rows_of("train", ["descriptors"]))), None
    raise DataError(f"a dataset of format {dataset.format!r} has no images of its own.")

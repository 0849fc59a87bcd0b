"""Build the manifest, the ground truth and the image pairs of a dataset, whatever its official format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from descbench.config.datasets import Dataset, DescriptorBagDataset
from descbench.datasets.aachen import read_aachen
from descbench.datasets.crop_labels import CropLabels, write_crop_labels
from descbench.datasets.dbstruct import read_dbstruct
from descbench.datasets.ground_truth import GroundTruth, write_ground_truth
from descbench.datasets.hpatches_sequences import read_hpatches_pairs, read_hpatches_sequences
from descbench.datasets.image_list import read_image_list
from descbench.datasets.image_pairs import ImagePair, check_image_pairs, write_image_pairs
from descbench.datasets.manifest import Manifest, check_counts, read_manifest, rows_of, write_manifest
from descbench.datasets.megadepth import read_megadepth
from descbench.datasets.own import is_own, label_own, list_own, listing_digest, own_root, with_contents
from descbench.datasets.pairs import TrainingPairs, write_pairs
from descbench.datasets.photographs import LeftOut, shown
from descbench.datasets.places import PlaceLabels, write_places
from descbench.datasets.pose_labels import PoseLabels, check_pose_labels, write_pose_labels
from descbench.datasets.recall_labels import PositiveLabels, write_positives
from descbench.datasets.revisitop import read_revisitop
from descbench.datasets.sfm120k import read_sfm120k, read_sfm_val
from descbench.errors import DataError, StaleFileError
from descbench.io.jsonfiles import write_checked_json

Labels = GroundTruth | PlaceLabels | PositiveLabels | TrainingPairs | CropLabels | PoseLabels | None
# Readers of the image pairs of a dataset, by its format.
PAIR_READERS: dict[str, Callable[[Any, Path], Iterator[ImagePair]]] = {"hpatches_sequences": read_hpatches_pairs}


def build_manifest(
    name: str,
    dataset: Dataset,
    datasets_dir: Path,
    manifest_path: Path,
    ground_truth_path: Path,
    left_out_path: Path | None = None,
    *,
    records: Path | None = None,
    listing: str = "",
) -> None:
    """Write the manifest CSV and the ground-truth JSON of a dataset.

    Args:
        name: of the dataset, for messages.
        dataset: its block of the configuration.
        datasets_dir: ``<data_dir>/datasets``.
        manifest_path, ground_truth_path: the two files; the second holds the pairs of a training set, which
            images show a query's place where positions are known, and protocol ``none`` for one without labels.
        left_out_path: JSON that lists the files of the folders that are not part of the dataset; None: unwritten.
        records: for the user's own folders, what is known of their images (:mod:`descbench.datasets.contents`);
            None: their content is not looked at.
        listing: digest that :func:`listing_digest` must find; empty: unchecked.

    Raises:
        DataError: the official files are damaged, have other counts than the catalogue says, or labels
            that point outside the database.
        StaleFileError: the user's folders changed since the workflow was planned.
    """
    left_out: tuple[LeftOut, ...] = ()
    found = ""
    if is_own(dataset):
        own = list_own(dataset)
        manifest, labels, left_out = own.manifest, label_own(dataset, own), own.left_out
        if records is not None:
            manifest = with_contents(manifest, own_root(dataset), records)
        found = listing_digest(manifest, own)
    else:
        manifest, labels = read_dataset(dataset, datasets_dir)
    if listing and listing != found:
        raise StaleFileError(f"datasets.{name}: its folders changed while the workflow ran; run it again.")
    if left_out:
        logging.warning("%s: %d files are left out: %s.", name, len(left_out), shown(left_out))
    _check_counts(name, dataset, manifest)
    check, write = _LABELS[type(labels)]
    file = dataset.label_file()
    # A file of the user's own is named as it is; others lie below the folder of datasets.
    source = f"datasets.{name}" if file is None else str(file if is_own(dataset) else Path(datasets_dir, file))
    check(source, labels, manifest)
    write_manifest(manifest, manifest_path)
    if left_out_path is not None:
        write_checked_json(left_out_path, {"files": [{"path": item.path, "reason": item.reason} for item in left_out]})
    write(labels, ground_truth_path)
    logging.info("%s: %d images", name, len(manifest))


def build_pairs(name: str, dataset: Dataset, datasets_dir: Path, manifest_path: Path, pairs_path: Path) -> None:
    """Write the image pairs of a dataset.

    Args:
        name: of the dataset, for messages.
        dataset: its block of the configuration.
        datasets_dir: ``<data_dir>/datasets``.
        manifest_path: its manifest, which the ids of the pairs are of.
        pairs_path: the file, see :mod:`descbench.datasets.image_pairs`.

    Raises:
        DataError: the official files are damaged, or the format has no image pairs.
        StaleFileError: the manifest is of other images.
    """
    if dataset.format not in PAIR_READERS:
        raise DataError(f"datasets.{name}: images of format {dataset.format!r} have no known relations to each other.")
    manifest = read_manifest(manifest_path)
    if manifest != read_dataset(dataset, datasets_dir)[0]:
        raise StaleFileError(f"{manifest_path}: the images of {name} are others now; delete it and rerun.")
    pairs = tuple(PAIR_READERS[dataset.format](dataset, datasets_dir))
    check_image_pairs(pairs, manifest, f"datasets.{name}")
    write_image_pairs(pairs, pairs_path)
    logging.info("%s: %d image pairs", name, len(pairs))


def _check_truth(source: str, labels: GroundTruth, manifest: Manifest) -> None:
    names = {role: [row.path for row in manifest.of_role(role).rows] for role in ("query", "database")}
    labels.check(names["query"], names["database"], source)
    if not any(ids for query in labels.queries for label, ids in query.items() if label != "junk"):
        raise DataError(
            f"{source}: nothing is right for any of its {len(labels.queries)} queries, so that nothing could be found; "
            "correct these labels."
        )
    places = {path: number for number, path in enumerate(names["database"])}
    itself = [
        path
        for path, labels_of in zip(names["query"], labels.queries, strict=True)
        if path in places and not any(places[path] in ids for ids in labels_of.values())
    ]
    if itself:
        logging.warning(
            "%s: %d queries are images of the database too, such as %s, and not labelled for themselves: they are "
            "found first, and count as wrong. List each as its own junk, if that is not meant.",
            source,
            len(itself),
            itself[0],
        )


def _nothing_to_check(source: str, labels: TrainingPairs | None, manifest: Manifest) -> None:
    """Pairs are checked by their reader."""


def _report_places(source: str, labels: PlaceLabels, manifest: Manifest) -> None:
    """Say what the labels hold: the classic faults of a list are queries that nothing is right for."""
    queries, alone = len(labels.positives), labels.without_positive()
    usable = sum(map(bool, labels.training_positives))
    logging.info("%s: right within %g m; %d of %d queries usable in training", source, labels.radius, usable, queries)
    if alone:
        logging.warning(
            "%s: %d of %d queries have no database image within %g m; they count as missed.",
            source,
            alone,
            queries,
            labels.radius,
        )


def _report_positives(source: str, labels: PositiveLabels, manifest: Manifest) -> None:
    """Say how many queries nothing is right for."""
    alone = labels.without_positive()
    if labels.positives and alone == len(labels.positives):
        first = manifest.of_role("query").rows[0].path
        raise DataError(
            f"{source}: nothing is right for any of its {alone} queries, so that nothing could be "
            "found; correct these labels, whose names or numbers must be those of the queries, such as "
            f"{Path(first).name}."
        )
    if alone:
        logging.warning("%s: nothing is right for %d of %d queries", source, alone, len(labels.positives))


def _report_crops(source: str, labels: CropLabels, manifest: Manifest) -> None:
    """Say how many images have no stylised copy: that is not an error."""
    copies = sum(item.stylised is not None for item in labels.items)
    logging.info("%s: %d of %d images have a stylised copy", source, copies, len(labels.items))


# How labels are checked and written, by their type.
_LABELS: dict[type, tuple[Callable[..., None], Callable[..., None]]] = {
    GroundTruth: (_check_truth, write_ground_truth),
    PlaceLabels: (_report_places, write_places),
    PositiveLabels: (_report_positives, write_positives),
    TrainingPairs: (_nothing_to_check, write_pairs),
    CropLabels: (_report_crops, write_crop_labels),
    PoseLabels: (check_pose_labels, write_pose_labels),
    type(None): (_nothing_to_check, write_ground_truth),
}


def _check_counts(name: str, dataset: Dataset, manifest: Manifest) -> None:
    try:
        check_counts(manifest, dict(dataset.counts), f"datasets.{name}")
    except DataError as error:
        if dataset.counts_verified:
            raise
        # Shards of what is searched as a whole are cut by the counts: images beyond them would silently be left out.
        for role in ("query", "database", "map"):
            found = len(manifest.of_role(role))
            if found > dataset.counts.get(role, found):
                raise DataError(
                    f"{error} The counts were never verified: set datasets.{name}.counts.{role} to {found}."
                ) from None
        logging.warning("%s (The catalogue's counts of this dataset were never verified, so this may be fine.)", error)


def read_dataset(dataset: Dataset, datasets_dir: Path) -> tuple[Manifest, Labels]:
    """Read the official files of a dataset that is none of the user's: its images, and its labels or training pairs."""
    if dataset.format not in READERS:
        raise DataError(f"a dataset of format {dataset.format!r} has no images of its own.")
    return READERS[dataset.format](dataset, datasets_dir)


def _read_bag(dataset: DescriptorBagDataset, datasets_dir: Path) -> tuple[Manifest, None]:
    """One row stands for all descriptors."""
    return Manifest(tuple(rows_of("train", ["descriptors"]))), None


# Readers of official files, by the dataset's format.
READERS: dict[str, Callable[[Any, Path], tuple[Manifest, Labels]]] = {
    "revisitop": read_revisitop,
    "revisitop_whole": read_revisitop,
    "sfm120k": read_sfm120k,
    "sfm_val": read_sfm_val,
    "image_list": read_image_list,
    "dbstruct": read_dbstruct,
    "hpatches_sequences": read_hpatches_sequences,
    "megadepth": read_megadepth,
    "aachen": read_aachen,
    "descriptor_bag": _read_bag,
}

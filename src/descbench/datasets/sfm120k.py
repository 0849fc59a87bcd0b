"""SfM-120k: the training images of HOW and GeM, and HOW's validation list (docs/protocols/revisitop.md, SfM-120k)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from descbench.config.datasets import Sfm120kDataset, SfmValDataset
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.labels import as_list, indices, parse_labels, safe_relative
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of
from descbench.datasets.pairs import TrainingPairs
from descbench.errors import DataError
from descbench.io.pickles import load_pickle


def image_path(cid: str) -> str:
    """Path of an image id below the ims folder: its last six characters, in pairs from the end."""
    return f"{cid[-2:]}/{cid[-4:-2]}/{cid[-6:-4]}/{cid}"


def read_sfm120k(dataset: Sfm120kDataset, datasets_dir: Path) -> tuple[Manifest, TrainingPairs | None]:
    """Manifest of one split with the 3-D model (cluster) of every image, and its pairs where it has any.

    Raises:
        DataError: the pickle is not an SfM-120k database, or its pairs are not of one cluster.
    """
    path = datasets_dir / dataset.database
    split = _get(load_pickle(path), dataset.split, path)
    images = _paths(_get(split, "cids", path), dataset.images, path)
    clusters = indices(_get(split, "cluster", path), "cluster", path)
    if len(images) != len(clusters):
        raise DataError(f"{path}: {len(images)} cids, but {len(clusters)} cluster entries; fetch the file again.")
    numbered = enumerate(zip(images, clusters, strict=True))
    rows = [ManifestRow(i, image, dataset.split, cluster=cluster) for i, (image, cluster) in numbered]
    if "qidxs" not in split:
        return Manifest(tuple(rows)), None
    pairs = TrainingPairs(*(tuple(indices(_get(split, key, path), key, path)) for key in ("qidxs", "pidxs")))
    pairs.check(clusters, str(path))
    return Manifest(tuple(rows)), pairs


def read_sfm_val(dataset: SfmValDataset, datasets_dir: Path) -> tuple[Manifest, GroundTruth]:
    """Manifest and ground truth of the validation list: queries are whole images of the database.

    Raises:
        DataError: the pickle lacks cids, qidx or gnd, or a query lies outside the list.
    """
    path = datasets_dir / dataset.ground_truth
    content = load_pickle(path)
    images = _paths(_get(content, "cids", path), dataset.images, path)
    chosen = indices(_get(content, "qidx", path), "qidx", path)
    wrong = [i for i in chosen if not 0 <= i < len(images)]
    if wrong:
        raise DataError(f"{path}: query index {wrong[0]} is outside the list of {len(images)} images.")
    queries = rows_of("query", [images[i] for i in chosen])
    labels = parse_labels(as_list(_get(content, "gnd", path), "gnd", path), "classic", path)
    return Manifest((*queries, *rows_of("database", images))), labels


def _get(content: Any, key: str, path: Path) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise DataError(f"{path}: key {key!r} is missing; not an SfM-120k list. Fetch the file again.")
    return content[key]


def _paths(cids: Any, images: str, path: Path) -> list[str]:
    names = [safe_relative(cid, path) for cid in as_list(cids, "cids", path)]
    wrong = [name for name in names if len(name) < 6 or "/" in name]
    if wrong:
        raise DataError(f"{path}: {wrong[0]!r} is not an image id of SfM-120k (six characters or more, no slash).")
    return [f"{images}/{safe_relative(image_path(name), path)}" for name in names]

"""Your own photographs: a folder, with or without queries and ground truth.

Light on purpose: the workflow lists the folder when it plans the shards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.config.models import FolderDataset
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.labels import check_benchmark, parse_box, parse_labels, safe_relative
from descbench.datasets.manifest import Manifest, ManifestRow
from descbench.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")


def folder_root(dataset: FolderDataset) -> Path:
    """Folder that the manifest's paths are relative to: the one above database and queries."""
    folders = [dataset.database.resolve(), (dataset.queries or dataset.database).resolve()]
    return Path(os.path.commonpath(folders))


def list_images(dataset: FolderDataset) -> dict[str, list[str]]:
    """Images by role, as POSIX paths relative to :func:`folder_root`.

    With ground truth they are its ``imlist`` and ``qimlist``, in that order; names may leave out the
    suffix. Without, all images in order of their path; where no query folder is given, every
    database image queries.

    Raises:
        DataError: a folder is absent or empty, or an image of the ground truth is not in it.
    """
    root = folder_root(dataset)
    folders = {"database": dataset.database, "query": dataset.queries or dataset.database}
    found = {role: _scan(folder) for role, folder in folders.items()}
    if dataset.ground_truth is not None:
        content = _read_ground_truth(dataset.ground_truth)
        wanted = {"database": content["imlist"], "query": content["qimlist"]}
        found = {role: _pick(wanted[role], found[role], folders[role], dataset.ground_truth) for role in folders}
    return {
        role: [(folders[role].resolve() / name).relative_to(root).as_posix() for name in names]
        for role, names in found.items()
    }


def read_folder(dataset: FolderDataset) -> tuple[Manifest, GroundTruth | None]:
    """Manifest and, where the folder has one, ground truth.

    Raises:
        DataError: as :func:`list_images`, or the ground truth is malformed.
    """
    images = list_images(dataset)
    boxes: Sequence[Any] = [None] * len(images["query"])
    labels = None
    if dataset.ground_truth is not None:
        gnd = _read_ground_truth(dataset.ground_truth)["gnd"]
        boxes = [parse_box(entry, number, dataset.ground_truth) for number, entry in enumerate(gnd)]
        protocol = "classic" if gnd and "ok" in gnd[0] else "revisited"
        labels = parse_labels(gnd, protocol, dataset.ground_truth)
    queries = [
        ManifestRow(i, path, "query", box) for i, (path, box) in enumerate(zip(images["query"], boxes, strict=True))
    ]
    database = [ManifestRow(i, path, "database") for i, path in enumerate(images["database"])]
    return Manifest((*queries, *database)), labels


def _scan(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; correct the paths of this dataset in the configuration.")
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if not names:
        raise DataError(f"{folder}: no image in it (looked for {', '.join(SUFFIXES)}).")
    return names


def _pick(wanted: Sequence[str], present: Sequence[str], folder: Path, ground_truth: Path) -> list[str]:
    """The present file of every wanted name, which may lack its suffix."""
    by_name = {name.rsplit(".", 1)[0]: name for name in reversed(present)}
    by_name.update({name: name for name in present})
    missing = [name for name in wanted if safe_relative(str(name), ground_truth) not in by_name]
    if missing:
        raise DataError(
            f"{ground_truth}: {len(missing)} of {len(wanted)} images are not in {folder}: {', '.join(missing[:5])}."
        )
    return [by_name[name] for name in wanted]


def _read_ground_truth(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such ground truth; correct the path or set `ground_truth: null`.") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error}).") from None
    return check_benchmark(content, path)

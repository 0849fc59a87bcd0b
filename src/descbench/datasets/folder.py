"""Your own photographs: a folder, with or without queries and ground truth.

Light on purpose: the workflow lists the folder when it plans the shards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from descbench.config.datasets import FolderDataset
from descbench.datasets.ground_truth import GroundTruth
from descbench.datasets.labels import Box, check_benchmark, parse_box, parse_labels, safe_relative
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of
from descbench.errors import DataError
from descbench.io.texts import read_text

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")


def folder_root(dataset: FolderDataset) -> Path:
    """Folder that the manifest's paths are relative to: the one above database and queries."""
    folders = [dataset.database.resolve(), (dataset.queries or dataset.database).resolve()]
    return Path(os.path.commonpath(folders))


def list_images(dataset: FolderDataset) -> dict[str, list[str]]:
    """Images by role, as POSIX paths relative to :func:`folder_root`.

    With ground truth they are its ``imlist`` and ``qimlist``, in that order; names may leave out the
    suffix. Without, all images in order of their path; where no query folder is given, every
    database image queries. A query folder inside the database folder is not part of the database.

    Raises:
        DataError: a folder is absent or empty, or an image of the ground truth is not in it.
    """
    root = folder_root(dataset)
    folders = {"database": dataset.database, "query": dataset.queries or dataset.database}
    found = {role: _scan(folder, _nested(dataset, role)) for role, folder in folders.items()}
    if dataset.ground_truth is not None:
        content = _read_ground_truth(dataset.ground_truth)
        wanted = {"database": content["imlist"], "query": content["qimlist"]}
        found = {role: _pick(wanted[role], found[role], folders[role], dataset.ground_truth) for role in folders}
    return {
        role: [(folders[role].resolve() / name).relative_to(root).as_posix() for name in names]
        for role, names in found.items()
    }


def _nested(dataset: FolderDataset, role: str) -> Path | None:
    """The folder of the other role where it lies inside this one; with ground truth the names tell them apart."""
    if dataset.queries is None or dataset.ground_truth is not None:
        return None
    here, other = dataset.database.resolve(), dataset.queries.resolve()
    if role == "query":
        here, other = other, here
    return other if other != here and other.is_relative_to(here) else None


def read_folder(dataset: FolderDataset) -> tuple[Manifest, GroundTruth | None]:
    """Manifest and, where the folder has one, ground truth.

    Raises:
        DataError: as :func:`list_images`, or the ground truth is malformed.
    """
    images = list_images(dataset)
    boxes: Sequence[Box | None] = [None] * len(images["query"])
    labels = None
    if dataset.ground_truth is not None:
        gnd = _read_ground_truth(dataset.ground_truth)["gnd"]
        protocol = "classic" if any(isinstance(entry, Mapping) and "ok" in entry for entry in gnd) else "revisited"
        labels = parse_labels(gnd, protocol, dataset.ground_truth)
        boxes = [parse_box(entry, number, dataset.ground_truth) for number, entry in enumerate(gnd)]
    queries = [
        ManifestRow(i, path, "query", box) for i, (path, box) in enumerate(zip(images["query"], boxes, strict=True))
    ]
    return Manifest((*queries, *rows_of("database", images["database"]))), labels


def _scan(folder: Path, without: Path | None) -> list[str]:
    """Images below a folder in order of their path, but for those below ``without``; hidden ones are no images."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; correct the paths of this dataset in the configuration.")
    base = folder.resolve()
    names = sorted(
        path.relative_to(base).as_posix()
        for path in _walk(base)
        if path.suffix.lower() in SUFFIXES and (without is None or not path.is_relative_to(without))
    )
    if not names:
        raise DataError(f"{folder}: no image in it (looked for {', '.join(SUFFIXES)}).")
    return [safe_relative(name, folder) for name in names]


def _walk(base: Path) -> Iterator[Path]:
    """Files below a folder. Links to folders are followed, but a folder is entered only once."""
    entered: set[str] = set()
    for current, folders, files in os.walk(base, followlinks=True):
        entered.add(os.path.realpath(current))
        visible = [f for f in sorted(folders) if not f.startswith(".")]
        folders[:] = [f for f in visible if os.path.realpath(Path(current, f)) not in entered]
        for name in files:
            path = Path(current, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _pick(wanted: Sequence[str], present: Sequence[str], folder: Path, ground_truth: Path) -> list[str]:
    """The present file of every wanted name, which may lack its suffix."""
    whole = set(present)
    by_stem: dict[str, list[str]] = {}
    for name in present:
        by_stem.setdefault(name.rsplit(".", 1)[0], []).append(name)
    found = {name: [name] if name in whole else by_stem.get(name, []) for name in wanted}
    missing = [name for name, files in found.items() if not files]
    if missing:
        raise DataError(
            f"{ground_truth}: {len(missing)} of {len(wanted)} images are not in {folder}: {', '.join(missing[:5])}."
        )
    for name, files in found.items():
        if len(files) > 1:
            raise DataError(f"{ground_truth}: {name!r} may be {' or '.join(files)} in {folder}; write the suffix too.")
    return [found[name][0] for name in wanted]


def _read_ground_truth(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such ground truth; correct the path or set `ground_truth: null`.") from None
    except (DataError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}).") from None
    return check_benchmark(content, path)

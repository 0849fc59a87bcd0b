"""Your own photographs: a folder, with or without queries and ground truth.

Light on purpose: the workflow lists the folder when it plans the shards.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from descbench.config.datasets import FolderDataset
from descbench.datasets.ground_truth import LABELS, GroundTruth
from descbench.datasets.labels import Box, check_benchmark, parse_box, parse_labels
from descbench.datasets.manifest import Manifest, ManifestRow, rows_of
from descbench.datasets.photographs import Found, LeftOut, find_photographs, refuse_bad, shown
from descbench.errors import DataError
from descbench.io.image_formats import image_suffixes
from descbench.io.texts import parse_json, read_text
from descbench.listing import listed


@dataclass(frozen=True)
class Listing:
    """What the folders of a dataset hold.

    Attributes:
        images: by role, as POSIX paths relative to :func:`folder_root`.
        left_out: what is not part of it.
        asks_itself: whether every database image is a query too, and no labels say what is right: an image is then
            left out of its own ranking.
    """

    images: dict[str, list[str]]
    left_out: tuple[LeftOut, ...]
    asks_itself: bool


def folder_root(dataset: FolderDataset) -> Path:
    """Folder that the manifest's paths are relative to: the one above database and queries."""
    folders = [dataset.database.resolve(), (dataset.queries or dataset.database).resolve()]
    return Path(os.path.commonpath(folders))


def list_folder(dataset: FolderDataset) -> Listing:
    """Images by role, and what is left out.

    With ground truth they are its ``imlist`` and ``qimlist``, in that order; names may leave out the
    suffix. Without, all images in order of their path; where no query folder is given, every
    database image queries. A query folder inside the database folder is not part of the database.

    Raises:
        DataError: a folder is absent or empty, an image of the ground truth is not in it, or a file cannot be an
            image and ``on_bad_file`` is ``stop``. Files that a ground truth does not name do not matter.
    """
    root = folder_root(dataset)
    folders = {"database": dataset.database, "query": dataset.queries or dataset.database}
    found = {"database": find_photographs(dataset.database, _nested(dataset, "database"))}
    found["query"] = found["database"]
    if folders["query"].resolve() != folders["database"].resolve():
        found["query"] = find_photographs(folders["query"], _nested(dataset, "query"))
    if dataset.ground_truth is not None:
        content = _read_ground_truth(dataset.ground_truth)
        wanted = {"database": content["imlist"], "query": content["qimlist"]}
        hints = {"query": "" if dataset.queries else " Name the folder of the queries, if they are in another one."}
        names = {
            role: _pick(wanted[role], found[role], folders[role], dataset.ground_truth, hints.get(role, ""))
            for role in folders
        }
        # A query may be asked by several parts of it.
        if len(set(names["database"])) < len(names["database"]):
            twice = next(name for name in names["database"] if names["database"].count(name) > 1)
            raise DataError(f"{dataset.ground_truth}: imlist has {twice!r} twice; list each image once.")
        left_out: list[LeftOut] = []
    else:
        names = {role: _all(found[role], folders[role], dataset) for role in folders}
        left_out = [
            LeftOut(f"{folders[role]}/{item.path}", item.reason)
            for role in folders
            for item in (*found[role].bad, *found[role].hidden)
        ]
    inside = {role: folder.resolve().relative_to(root).as_posix() for role, folder in folders.items()}
    images = {
        role: list(listed) if inside[role] == "." else [f"{inside[role]}/{name}" for name in listed]
        for role, listed in names.items()
    }
    itself = dataset.ground_truth is None and images["query"] == images["database"]
    return Listing(images, tuple(dict.fromkeys(left_out)), itself)


def list_images(dataset: FolderDataset) -> dict[str, list[str]]:
    """Images by role, as :func:`list_folder` lists them."""
    return list_folder(dataset).images


def _nested(dataset: FolderDataset, role: str) -> Path | None:
    """The folder of the other role where it lies inside this one; with ground truth the names tell them apart."""
    if dataset.queries is None or dataset.ground_truth is not None:
        return None
    here, other = dataset.database.resolve(), dataset.queries.resolve()
    if role == "query":
        here, other = other, here
    return other if other != here and other.is_relative_to(here) else None


def read_folder(dataset: FolderDataset, listing: Listing) -> tuple[Manifest, GroundTruth | None]:
    """Manifest and, where the folder has one, ground truth.

    Raises:
        DataError: the ground truth is malformed.
    """
    images = listing.images
    boxes: Sequence[Box | None] = [None] * len(images["query"])
    labels = None
    if dataset.ground_truth is not None:
        gnd = _read_ground_truth(dataset.ground_truth)["gnd"]
        protocol = "classic" if any(isinstance(entry, Mapping) and "ok" in entry for entry in gnd) else "revisited"
        labels = parse_labels(gnd, protocol, dataset.ground_truth)
        _check_keys(gnd, protocol, dataset.ground_truth)
        boxes = [parse_box(entry, number, dataset.ground_truth) for number, entry in enumerate(gnd)]
    queries = [
        ManifestRow(i, path, "query", box) for i, (path, box) in enumerate(zip(images["query"], boxes, strict=True))
    ]
    return Manifest((*queries, *rows_of("database", images["database"]))), labels


def _check_keys(gnd: Sequence[Mapping[str, Any]], protocol: str, path: Path) -> None:
    """Refuse what is not a key of a query's labels: a misspelt one would count as absent."""
    known = (*LABELS[protocol], "bbx")
    for number, entry in enumerate(gnd):
        unknown = [key for key in entry if key not in known]
        if unknown:
            raise DataError(f"{path}: query {number} has {unknown[0]!r}; its keys can be {', '.join(known)}.")


def _all(found: Found, folder: Path, dataset: FolderDataset) -> list[str]:
    """All images of a folder."""
    if dataset.on_bad_file == "stop":
        refuse_bad(found.bad, folder)
    if not found.images:
        others = [*found.bad, *found.hidden]
        raise DataError(f"{folder}: no image in it{', only ' + shown(others) if others else ''}.")
    return found.images


def _pick(wanted: Sequence[str], found: Found, folder: Path, ground_truth: Path, hint: str) -> list[str]:
    """The file of every wanted name, which may lack its suffix, or have it in another case."""
    whole = set(found.images)
    alike: dict[str, list[str]] = {}
    for name in found.images:
        # A name with a suffix of images is no other file's name without it.
        bare = name.rsplit(".", 1)[0]
        ends_as_image = PurePosixPath(bare).suffix.lower() in image_suffixes()
        for key in {_plain(name)} if ends_as_image else {_plain(name), _plain(bare)}:
            alike.setdefault(key, []).append(name)
    fitting = {name: [name] if name in whole else alike.get(_plain(name), []) for name in wanted}
    missing = [name for name, files in fitting.items() if not files]
    if missing:
        bad = [item for item in found.bad if any(_fits(item.path, name) for name in missing)]
        raise DataError(
            f"{ground_truth}: {len(missing)} of {len(wanted)} images are not in {folder}: {listed(missing, 5)}"
            f"{'. There is ' + shown(bad) if bad else ''}.{hint}"
        )
    for name, files in fitting.items():
        if len(files) > 1:
            raise DataError(f"{ground_truth}: {name!r} may be {' or '.join(files)} in {folder}; write the exact name.")
    return [fitting[name][0] for name in wanted]


def _plain(name: str) -> str:
    """A name with the case of its suffix and the composition of its letters set aside (macOS decomposes them)."""
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    return str(path.with_suffix(path.suffix.lower())) if path.suffix else str(path)


def _fits(path: str, name: str) -> bool:
    return path == name or path.rsplit(".", 1)[0] in (name, name.rsplit(".", 1)[0])


def _read_ground_truth(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{path}: no such ground truth; correct the path (a dataset without labels has no `ground_truth`)."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}).") from None
    return check_benchmark(content, path)

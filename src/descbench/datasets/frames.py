"""Which images are right for a query, by the numbers of frames or by a list.

Definition: docs/protocols/places.md, Frames and lists.

Light on purpose: the workflow reads the labels when it plans.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from descbench.config.datasets import FolderDataset
from descbench.config.labelled_datasets import FramesDataset, LabelledFolders, PositivesDataset
from descbench.datasets.folder import Listing, folder_root, list_folder
from descbench.datasets.labels import as_list, safe_relative
from descbench.datasets.recall_labels import PositiveLabels
from descbench.errors import DataError
from descbench.io.texts import parse_json, read_lines, read_text

_NUMBER = re.compile("[0-9]+")
_PAIR = re.compile(r"\s*([0-9]{1,18})\s*[,;\s]\s*([0-9]{1,18})\s*")
# Frames have fewer digits than a time stamp in nanoseconds has.
_MOST_DIGITS = 18


def labelled_root(dataset: LabelledFolders) -> Path:
    """Folder that the manifest's paths are relative to: the one above database and queries."""
    return folder_root(_folders(dataset))


def list_labelled(dataset: LabelledFolders) -> Listing:
    """Images by role, in order of their path.

    Raises:
        DataError: as :func:`descbench.datasets.folder.list_folder`.
    """
    return list_folder(_folders(dataset))


def label_frames(dataset: FramesDataset, images: Mapping[str, Sequence[str]]) -> PositiveLabels:
    """Right is what is at most ``tolerance`` frames off the place of a query.

    Args:
        dataset: block of the configuration.
        images: paths by role.

    Raises:
        DataError: a name without a number, numbers that are all the same, or a damaged list of pairs.
    """
    frames = {role: _numbers(images[role], dataset.numbers) for role in ("database", "query")}
    places = None if dataset.pairs is None else read_frame_pairs(dataset.pairs)
    if len(frames["database"]) > 1 and len(set(frames["database"])) == 1:
        raise DataError(
            f"{dataset.database}: all {len(frames['database'])} images have the frame number {frames['database'][0]}, "
            "the last number in their names; rename them, or set `numbers: order` in the dataset."
        )
    ordered = sorted((frame, image) for image, frame in enumerate(frames["database"]))
    sorted_frames = [frame for frame, _ in ordered]
    positives = []
    for frame in frames["query"]:
        found: set[int] = set()
        for place in [frame] if places is None else places.get(frame, []):
            first = bisect_left(sorted_frames, place - dataset.tolerance)
            last = bisect_right(sorted_frames, place + dataset.tolerance)
            found.update(image for _, image in ordered[first:last])
        positives.append(tuple(sorted(found)))
    place = "the query's" if dataset.pairs is None else f"that of {dataset.pairs.name} for the query's"
    return PositiveLabels(tuple(positives), f"what is at most {dataset.tolerance} frames off {place}")


def label_positives(dataset: PositivesDataset, images: Mapping[str, Sequence[str]]) -> PositiveLabels:
    """Right is what a list says; nothing is right for a query that is not in it.

    Args:
        dataset: block of the configuration.
        images: paths by role, relative to :func:`labelled_root`.

    Raises:
        DataError: the list is malformed, or names images that are not in the folders.
    """
    path = dataset.positives
    listed = read_positives(path)
    folders = {"query": dataset.queries, "database": dataset.database}
    ids = {role: _by_name(images[role], folder, labelled_root(dataset)) for role, folder in folders.items()}
    unknown = [("query", name) for name in listed if name not in ids["query"]]
    unknown += [("database", name) for names in listed.values() for name in names if name not in ids["database"]]
    if unknown:
        role, name = unknown[0]
        raise DataError(
            f"{path}: {len(unknown)} names lead nowhere, such as {name!r}, which is not an image in {folders[role]}."
        )
    positives: list[tuple[int, ...]] = [()] * len(ids["query"])
    for query, names in listed.items():
        positives[ids["query"][query]] = tuple(sorted({ids["database"][name] for name in names}))
    return PositiveLabels(tuple(positives), f"what {path.name} lists")


def _folders(dataset: LabelledFolders) -> FolderDataset:
    places = {"database": dataset.database, "queries": dataset.queries, "on_bad_file": dataset.on_bad_file}
    return FolderDataset(format="folder", **places)


def _numbers(paths: Sequence[str], numbers: str) -> list[int]:
    """The number of each frame."""
    return list(range(len(paths))) if numbers == "order" else [_number(path) for path in paths]


def _number(path: str) -> int:
    found = _NUMBER.findall(PurePosixPath(path).stem)
    if not found or len(found[-1]) > _MOST_DIGITS:
        raise DataError(
            f"{path}: no frame number in this name; rename it, or have files counted instead (`numbers: order` in the "
            "block of a dataset)."
        )
    return int(found[-1])


def read_frame_pairs(path: Path) -> dict[int, list[int]]:
    """Frames of the database by frames of the queries.

    Raises:
        DataError: there is no such file, or a line is not a pair of numbers.
    """
    try:
        lines = read_lines(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such list of frames; correct `pairs` of its dataset.") from None
    found: dict[int, list[int]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        pair = _PAIR.fullmatch(line)
        if pair is None:
            raise DataError(f"{path}: line {number}: not `query, database`, two numbers of frames.")
        found.setdefault(int(pair[1]), []).append(int(pair[2]))
    return found


def read_positives(path: Path) -> dict[str, list[str]]:
    """Names of right images by names of queries.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    try:
        content: Any = parse_json(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: no such list; correct `positives` of its dataset.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON that can be read ({error}).") from None
    listed = content.get("positives") if isinstance(content, dict) else None
    if not isinstance(listed, dict):
        raise DataError(f'{path}: no positives; {{"positives": {{"query.jpg": ["database.jpg", ...]}}}} is needed.')
    return {
        safe_relative(query, path): [safe_relative(name, path) for name in as_list(names, f"{query!r}", path)]
        for query, names in listed.items()
    }


def _by_name(paths: Sequence[str], folder: Path, root: Path) -> dict[str, int]:
    """Ids by names within a folder."""
    inside = folder.resolve().relative_to(root).as_posix()
    return {path if inside == "." else path.removeprefix(f"{inside}/"): image for image, path in enumerate(paths)}

"""The files between data and scores: whether they are what their stages wrote, and those that were scored."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from descbench.bundle.contents import CellFiles
from descbench.errors import DataError
from descbench.io.carried import damage, stated_checksum
from descbench.io.digests import sha256_file
from descbench.io.jsonfiles import read_json
from descbench.io.records import record_path
from descbench.paths import Paths
from descbench.plan import Plan

_ANY = "*"


@dataclass(frozen=True)
class Compared:
    """What was found of the files between data and scores.

    Attributes:
        files: how many are there, and were read from end to end.
        changed: those that are damaged or not those which were scored, with what is wrong.
        absent: those that were scored, or that a record beside them names, and are not there.
        silent: cells, as ``method on dataset``, whose provenance does not name what was scored.
    """

    files: int
    changed: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    silent: tuple[str, ...]


def compare_between(plan: Plan, cells: Sequence[CellFiles], known: Container[str] = ()) -> Compared:
    """Compare files with the checksums that they carry, and with those that the provenance of cells recorded.

    Each file is read once, block by block, however many cells rest on it.

    Args:
        plan: of the configuration.
        cells: whose files are meant.
        known: files that are left out, for they are compared elsewhere.
    """
    scored = _scored(cells)
    found = dict.fromkeys(path for cell in cells for path in _there(plan, cell))
    found |= {Path(file): None for file in scored if Path(file).is_file()}
    there = [path for path in found if path.as_posix() not in known]
    changed = {path.as_posix(): told for path in there if (told := _change(path, scored.get(path.as_posix(), ())))}
    absent = [file for file in scored if not Path(file).is_file()]
    described = {file: digest for cell in cells for file, digest in _described(plan, cell)}
    for path, digest in described.items():
        if not path.is_file():
            absent.append(path.as_posix())
        elif sha256_file(path) != digest:
            changed[path.as_posix()] = "damaged or edited: not what the record beside it says"
    files = len(there) + sum(path.is_file() for path in described)
    silent = [f"{cell.method} on {cell.dataset}" for cell in cells if "inputs" not in cell.provenance]
    return Compared(files, tuple(changed.items()), tuple(absent), tuple(silent))


def _scored(cells: Sequence[CellFiles]) -> dict[str, list[str]]:
    """Files that cells were scored from, with the checksums that they carried then."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        for file, checksum in cell.provenance.get("inputs", {}).items():
            found.setdefault(file, []).append(checksum)
    return found


def _change(path: Path, scored: Sequence[str]) -> str:
    """What is wrong with a file that is there; empty: nothing."""
    if told := damage(path):
        return told
    now = stated_checksum(path)
    other = next((checksum for checksum in scored if checksum != now), None)
    return "" if other is None else f"another file than the one that was scored: checksum {now}, recorded {other}"


def _described(plan: Plan, cell: CellFiles) -> Iterator[tuple[Path, str]]:
    """Poses and maps of points, in formats of others, with the SHA-256 that the records beside them say."""
    behind = plan.lineage.names_behind(cell.method, cell.dataset)
    for place in product(behind["methods"], behind["scored"]):
        folder, poses = Path(plan.paths.reconstruction(*place)), Path(plan.paths.poses(*place))
        files = _recorded(Path(plan.paths.reconstruction_record(*place))).get("files", {})
        yield from ((folder / Path(name).name, digest) for name, digest in files.items())
        if digest := _recorded(Path(record_path(poses))).get("sha256"):
            yield poses, digest


def _recorded(record: Path) -> dict[str, Any]:
    """What a record says; nothing where it is not there, or is damaged, which is told of the record itself."""
    try:
        return read_json(record)
    except DataError:
        return {}


def _there(plan: Plan, cell: CellFiles) -> Iterator[Path]:
    """Files before a cell that are there, found by the names in their paths: folders of the user's need not be."""
    for pattern in _patterns(plan, cell):
        yield from sorted(Path(plan.paths.results).glob(pattern.removeprefix("/")))


def _patterns(plan: Plan, cell: CellFiles) -> Iterator[str]:
    """Below ``/``, which stands for the folder of results, all that may be before a cell; ``*``: shard, part, role."""
    behind, paths = plan.lineage.names_behind(cell.method, cell.dataset), Paths("", "")
    data, methods = behind["scored"], behind["methods"]
    yield from map(paths.manifest, behind["datasets"])
    for name in data:
        yield from (paths.ground_truth(name), paths.image_pairs(name), paths.patches(name, _ANY))
    for model in behind["models"]:
        yield from (paths.checkpoint(model), paths.clusters(model))
    for features, dataset in product(behind["features"], data):
        yield paths.feature_shard(features, dataset, _ANY, _ANY)
    yield from map(paths.codebook, methods)
    for method, dataset in product(methods, data):
        yield from _of_method(paths, method, dataset)


def _of_method(paths: Paths, method: str, dataset: str) -> Iterator[str]:
    """What stages make of a dataset or patch set for one method."""
    yield paths.words_shard(method, dataset, _ANY, _ANY)
    yield paths.index_shard(method, dataset, _ANY)
    yield paths.statistics(method, dataset)
    yield paths.ranking_part(method, dataset, _ANY, _ANY)
    yield paths.ranking(method, dataset)
    yield paths.inliers(method, dataset)
    yield paths.inlier_counts(method, dataset, _ANY)
    yield paths.map_pairs(method, dataset)
    yield paths.matches(method, dataset, _ANY)
    yield paths.image_matches(method, dataset, _ANY)
    yield paths.reconstruction_record(method, dataset)
    yield record_path(paths.poses(method, dataset))
    yield paths.descriptors(method, dataset, _ANY)

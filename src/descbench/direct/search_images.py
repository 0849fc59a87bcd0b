"""Search a folder of images of the user's own: what is known of them is kept, and new ones are added."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from os.path import commonpath
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from descbench.command_files import read_configuration
from descbench.config.datasets import FolderDataset
from descbench.config.models import Config
from descbench.datasets.labels import safe_relative
from descbench.datasets.manifest import Manifest, read_manifest, rows_of
from descbench.datasets.own import list_own, own_root
from descbench.datasets.photographs import LeftOut, find_photographs, refuse_bad, shown
from descbench.direct.searched import check_searches, find_codebook
from descbench.direct.work_features import DescribedImages, WorkFeatures
from descbench.direct.work_place import hold_folder
from descbench.errors import ConfigError, DataError
from descbench.io.digests import digest_of
from descbench.io.outputs import check_page
from descbench.listing import listed
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.run_search import prepare_database, rank_queries
from descbench.tables.found_page import show_found
from descbench.tables.thumbnails import thumbnails

OnBadFile = Literal["stop", "skip"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundImages:
    """What was found for a query.

    Attributes:
        query: its file.
        images: files that were found, best first.
        scores: of each, higher is better: of ASMK and words a similarity, of descriptors an inner product or a
            negative squared distance.
    """

    query: Path
    images: tuple[Path, ...]
    scores: tuple[float, ...]


def search_images(
    images: str | Path,
    queries: str | Path | Sequence[str | Path],
    method: str,
    *,
    top_k: int = 10,
    html: str | Path | None = None,
    work: str | Path | None = None,
    configfiles: Sequence[str | Path] = (),
    on_bad_file: OnBadFile = "stop",
) -> list[FoundImages]:
    """Find the images of a folder that are most like each query.

    Features and index stay in a folder: a second search describes the images that are new or changed, and no others.
    Of several searches in one folder at the same time, each waits for the one before.

    Args:
        images: folder that is searched, in depth.
        queries: an image, several, or a folder of them.
        method: of the configuration, with its own way of searching, such as ``how_r18_n1000``.
        top_k: images of each query.
        html: page to write, with pictures; None: none.
        work: folder that is kept; None: one of this method and these images below ``<results_dir>/direct``.
        configfiles: overlays of the configuration.
        on_bad_file: ``stop`` at a file in a folder of images or queries that is not an image or is unreadable, or
            ``skip`` it.

    Returns:
        What was found, for the queries in their order.

    Raises:
        ConfigError: no such method, or one that searches no images by itself; folders that cannot be made.
        DataError: a checkpoint or codebook that is not there (the message names the command that makes it), no images,
            or one that cannot be read.
    """
    files = [Path(file) for file in configfiles]
    config = read_configuration(files)
    check_searches(config, method)
    if top_k < 1:
        raise ConfigError(f"top_k {top_k}: at least 1.")
    check_page(html, files)
    dataset = folder_dataset(Path(images), on_bad_file)
    own = list_own(dataset)
    asked = _queries([queries] if isinstance(queries, str | Path) else queries, on_bad_file)
    left_out = (*own.left_out, *asked.left_out)
    if left_out:
        _log.warning("%d files are left out: %s.", len(left_out), shown(left_out))
    folder = work_folder(config, "search", method, Path(images)) if work is None else Path(work)
    codebook = find_codebook(config, method, files)
    features = WorkFeatures(config, config.methods[method].features, folder, files, on_bad_file == "skip")
    with hold_folder("the work folder", folder, [Path(images)]):
        database = features.describe("database", _in_known_order(own.manifest, folder), own_root(dataset))
        queried = features.describe("query", asked.listed, asked.root, "query")
        found = _rank(config, method, (queried, database), folder, codebook, top_k)
    if html is not None:
        names = {"title": f"{method} in {database.root.name}", "rule": _rule(method, database, own.left_out)}
        _show(found, Path(html), names, (asked.root, database.root), config.features[features.features].reading_options)
    return found


def folder_dataset(images: Path, on_bad_file: OnBadFile = "stop", queries: Path | None = None) -> FolderDataset:
    """A folder of images as a dataset.

    Raises:
        ConfigError: its path is none that is read.
    """
    try:
        return FolderDataset(format="folder", database=images, queries=queries, on_bad_file=on_bad_file)
    except ValidationError as error:
        raise ConfigError(f"{str(images)!r} is not a folder: {error.errors()[0]['msg']}.") from error


def work_folder(config: Config, what: str, method: str, images: Path) -> Path:
    """Where features and index of a folder of images stay for one method."""
    place = images.resolve()
    return config.results_dir / "direct" / what / method / f"{place.name}-{digest_of(str(place))[:8]}"


@dataclass(frozen=True)
class _Queries:
    """Manifest of the queries, the folder that its paths are relative to, and what was left out of their folders."""

    listed: Manifest
    root: Path
    left_out: tuple[LeftOut, ...]


def _queries(given: Sequence[str | Path], on_bad_file: OnBadFile) -> _Queries:
    """Images to search with.

    Raises:
        DataError: a file or folder that is not there or cannot be read, or nothing to ask for.
    """
    paths: list[Path] = []
    left_out: list[LeftOut] = []
    for path in map(Path, given):
        if path.is_dir():
            found = find_photographs(path)
            if on_bad_file == "stop":
                refuse_bad(found.bad, path)
            paths += [path.resolve() / name for name in found.images]
            left_out += [LeftOut(f"{path}/{item.path}", item.reason) for item in (*found.bad, *found.hidden)]
        elif path.is_file():
            paths.append(path.resolve())
        else:
            raise DataError(f"{path}: no such image; correct the path of the query.")
    if not paths:
        raise DataError(f"{listed(given) or 'no query'}: no image to search with.")
    root = Path(commonpath([path.parent for path in paths]))
    names = [safe_relative(path.relative_to(root).as_posix(), path) for path in paths]
    return _Queries(Manifest(tuple(rows_of("query", names))), root, tuple(left_out))


def _in_known_order(images: Manifest, work: Path) -> Manifest:
    """Images of a folder: those of the last time in their order, then new ones, so that few shards change."""
    listed = [row.path for row in images.of_role("database").rows]
    try:
        before = {row.path: row.image_id for row in read_manifest(work / "database.csv").rows}
    except DataError:  # absent, or damaged
        before = {}
    return Manifest(tuple(rows_of("database", sorted(listed, key=lambda path: (before.get(path, len(before)), path)))))


def _rank(
    config: Config,
    method: str,
    described: tuple[DescribedImages, DescribedImages],
    work: Path,
    codebook: Path | None,
    top_k: int,
) -> list[FoundImages]:
    queries, images = described
    block = config.methods[method]
    database = prepare_database(block, images.shards, work, codebook)
    length = {"top_k": min(top_k, len(images.listed)), "num_queries": len(queries.listed)}
    rank_queries(block, queries.shards, database, work, work / "ranking.h5", **length)
    ranking = read_ranking(work / "ranking.h5")
    found = []
    for row, ids, scores in zip(queries.listed.rows, ranking.image_ids, ranking.scores, strict=True):
        # NaN: the image or the query could not be read.
        compared = [(images.listed.rows[i].path, s) for i, s in zip(ids, scores.tolist(), strict=True) if not isnan(s)]
        # Of equal scores the first path: not the image that was added to the folder first.
        compared.sort(key=lambda item: (-item[1], item[0]))
        names, values = zip(*compared, strict=True) if compared else ((), ())
        if len(values) > 1 and len(set(values)) == 1:
            _log.warning("%s: all images have the same score, as where it has no features: no order of them.", row.path)
        found.append(FoundImages(queries.root / row.path, tuple(images.root / name for name in names), tuple(values)))
    return found


def _rule(method: str, database: DescribedImages, left_out: Sequence[LeftOut]) -> str:
    """What was searched, in sentences for the page."""
    searched = len(database.listed) - database.unread
    rule = f"{searched:,} images in {database.root.name} were searched by {method}; a higher score is better."
    return f"{rule} {len(left_out)} files in it were left out: {shown(left_out)}." if left_out else rule


def _show(
    found: Sequence[FoundImages],
    html: Path,
    names: dict[str, str],
    roots: tuple[Path, Path],
    reading: Mapping[str, Any],
) -> None:
    """Write the page of a title and a rule; paths on it are relative to the folders of queries and images."""
    of_query, of_image = (partial(_below, root) for root in roots)
    listed = [
        (of_query(f.query), [(of_image(path), score) for path, score in zip(f.images, f.scores, strict=True)])
        for f in found
    ]
    pictures = [thumbnails(root, reading, "skip") for root in roots]
    show_found(listed, html, **names, picture_of_query=pictures[0], picture_of_image=pictures[1])


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()

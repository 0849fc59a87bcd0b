"""Stage import_ranking: a published list of nearest neighbours as a ranking.

Definition: docs/protocols/local_reranking.md, Published lists.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from descbench.datasets.manifest import read_manifest
from descbench.errors import DataError
from descbench.io.digests import sha256_file
from descbench.io.kinds import shorten
from descbench.retrieval.published_lists import ImagesByName, PublishedList, read_published_list
from descbench.retrieval.ranking import PartInfo, ranking_writer


def import_ranking(listed: Path, manifest: Path, output: Path, *, cell: str | None = None) -> None:
    """Write the ranking of a published list.

    Scores are minus the place in the list, from 0. Where lists of queries are of different lengths, the shorter ones
    are filled with images that were not found (score NaN). Queries of the list that the dataset has not are left out.

    Args:
        listed: the file.
        manifest: of the dataset, whose queries must all be in the list.
        output: the ranking to write.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        DataError: the file is absent or damaged; it lacks a query, has one twice, ranks an image of another dataset or
            one image twice for a query; the dataset has no queries. The message names them.
    """
    content, images = read_published_list(listed), read_manifest(manifest)
    queries, database = images.of_role("query").rows, images.of_role("database").rows
    if not queries or not database:
        raise DataError(f"{manifest}: a list of nearest neighbours needs a dataset with queries and a database.")
    rows = _rows(content, ImagesByName(queries), listed)
    missing = [row.path for row in queries if row.image_id not in rows]
    if missing:
        raise DataError(
            f"{listed}: has no list of {len(missing)} of the {len(queries)} queries, such as {missing[0]}; it is of "
            "another dataset or cut short: name another file."
        )
    ranks = {query: content.ranks[row] for query, row in rows.items()}
    ids = _database_ids(content, ranks, ImagesByName(database), listed)
    width = max(len(ranked) for ranked in ranks.values())
    if not width:
        raise DataError(f"{listed}: ranks no image of any query; name another file.")
    info = PartInfo(0, len(database), {"list": sha256_file(listed)} | ({"cell": cell} if cell else {}))
    with ranking_writer(output, info, np.arange(len(queries)), width) as writer:
        for query in range(len(queries)):
            found = ids[ranks[query]]
            _check_once(found, content, ranks[query], rows[query], listed)
            others = np.setdiff1d(np.arange(len(database)), found)[: width - len(found)]
            scores = np.full(width, np.nan)
            scores[: len(found)] = -np.arange(len(found))
            writer.write(query, np.concatenate([found, others])[None], scores[None])


def _rows(content: PublishedList, known: ImagesByName, listed: Path) -> dict[int, int]:
    """Query -> its place in the list."""
    rows: dict[int, int] = {}
    others = 0
    for number, name in enumerate(content.queries):
        query = _find(known, name, listed)
        if query is None:
            others += 1
        elif query in rows:
            raise DataError(f"{listed}: has query {shorten(name)} twice; the file is damaged.")
        else:
            rows[query] = number
    if others:
        logging.warning("%s: %d of its %d queries are not of this dataset", listed, others, len(content.queries))
    return rows


def _database_ids(
    content: PublishedList, ranks: dict[int, np.ndarray], known: ImagesByName, listed: Path
) -> np.ndarray:
    """Id of each image that is ranked for some query; -1 of the others, which need not be of the dataset."""
    ids = np.full(len(content.images), -1, np.int64)
    for place in np.unique(np.concatenate(list(ranks.values()))).tolist():
        image = _find(known, content.images[place], listed)
        if image is None:
            raise DataError(
                f"{listed}: ranks {shorten(content.images[place])}, which is not a database image of this dataset; the "
                "list is of another one."
            )
        ids[place] = image
    return ids


def _find(known: ImagesByName, name: str, listed: Path) -> int | None:
    try:
        return known.find(name)
    except ValueError as error:
        raise DataError(f"{listed}: {error} of this dataset; write the folders of its names too.") from None


def _check_once(found: np.ndarray, content: PublishedList, ranked: np.ndarray, row: int, listed: Path) -> None:
    """Refuse a list that has an image twice."""
    _, first = np.unique(found, return_index=True)
    if len(first) < len(found):
        twice = content.images[ranked[np.delete(np.arange(len(found)), first)[0]]]
        query = shorten(content.queries[row])
        raise DataError(f"{listed}: query {query} ranks {shorten(twice)} twice; the list is damaged.")

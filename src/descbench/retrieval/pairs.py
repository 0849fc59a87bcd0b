"""Stage compute_pairs: the most similar images of each image, as a pairs file of kapture.

Definition: docs/protocols/kapture.md, Pairs file.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from math import isnan
from pathlib import Path

from descbench.config.methods import Method
from descbench.datasets.manifest import Manifest, read_manifest
from descbench.errors import DataError
from descbench.io.atomic import atomic_path, work_folder
from descbench.listing import listed
from descbench.retrieval.ranking import Ranking, read_ranking
from descbench.retrieval.run_search import Database, rank_queries

_HEADER = "# query_image, map_image, score"


def compute_pairs(
    method: Method,
    query_shards: Sequence[Path],
    database: Database,
    names: tuple[Path, Path],
    output: Path,
    *,
    top_k: int,
    threads: int | None = None,
    called: tuple[Path, Path] | None = None,
) -> None:
    """Write the pairs file of a query set and a map.

    Args:
        method: ASMK or flat search; its own ``top_k`` does not matter here.
        query_shards: feature shards of the queries, in order.
        database: the map, as the method searches it.
        names: manifests of the queries and of the map; all their images are of role database.
        output: the pairs file.
        top_k: pairs of each query.
        threads: None = all processors.
        called: what messages call the two; None: the manifests.

    Raises:
        DataError: a query set without images, damaged files, or other photographs of the map under the same names.
        StaleFileError: codebook, index and features do not belong together.
    """
    manifests = [read_manifest(path).of_role("database") for path in names]
    check_names(*manifests, called or names)
    queries, images = ([row.path for row in manifest.rows] for manifest in manifests)
    # An image may be recorded more than once under the query's name.
    kept = min(len(images), top_k + max(Counter(images).values()))
    with work_folder(output) as folder:
        ranking = folder / "ranking.h5"
        lengths = {"top_k": kept, "num_queries": len(queries)}
        rank_queries(method, query_shards, database, folder, ranking, **lengths, threads=threads)
        write_pairs_file(read_ranking(ranking), queries, images, output, top_k=top_k)


def write_pairs_file(
    ranking: Ranking, queries: Sequence[str], images: Sequence[str], output: Path, *, top_k: int
) -> None:
    """Write ``query, map, score`` rows, best first, queries in their order.

    A map image of the query's own name is left out without counting: of a map against itself that is the
    image itself, else another file of the same relative path, as the original does. Images that could not be
    compared (NaN) are left out; queries that have no pair are counted in the log.

    Raises:
        DataError: no query has a pair.
    """
    lines, alone = [_HEADER], 0
    for query, ids, scores in zip(ranking.query_ids, ranking.image_ids, ranking.scores, strict=True):
        name = queries[query]
        others = [
            (images[i], score) for i, score in zip(ids, scores, strict=True) if images[i] != name and not isnan(score)
        ]
        lines += [f"{name}, {image}, {score:g}" for image, score in others[:top_k]]
        alone += not others
    if alone == len(ranking.query_ids):
        raise DataError(
            f"{output}: no image has a pair: all could not be read, all words have an idf of 0 (in a map of one image "
            "every word has), or the map holds nothing but the query itself."
        )
    if alone:
        logging.warning("%s: %d of %d queries have no pair", output, alone, len(ranking.query_ids))
    with atomic_path(output) as temporary:
        Path(temporary).write_text("\n".join(lines) + "\n", encoding="utf-8")


def check_names(queries: Manifest, images: Manifest, paths: tuple[Path, Path]) -> None:
    """Refuse queries and a map of which a pairs file cannot tell the photographs apart.

    A pairs file names images by their path alone, and a pair of equal names means an image and itself. So a
    query's best match would be lost where the map has another photograph under its name. Photographs that are the
    same (of a map that is paired with itself, or with a part of it) are left out on purpose; that is logged.

    Raises:
        DataError: names without images, or two photographs of one name; the first five names are shown.
    """
    for manifest, path in zip((queries, images), paths, strict=True):
        if not len(manifest):
            raise DataError(f"{path}: no images, so no pairs.")
    if paths[0] == paths[1]:
        return
    contents: dict[str, set[str | None]] = {}
    for row in images.rows:
        contents.setdefault(row.path, set()).add(row.content)
    shared = {row.path: contents[row.path] == {row.content} for row in queries.rows if row.path in contents}
    others = [name for name, same in shared.items() if not same]
    if others:
        raise DataError(
            f"{paths[0]} and {paths[1]}: {len(others)} names stand for one photograph in the queries and another in "
            f"the map ({listed(others, 5)}). A pairs file cannot tell them "
            "apart, and such a match would be lost: put the images of one of them into a folder of its own below "
            "records_data, and write that folder into its records_camera.txt."
        )
    if shared:
        logging.warning(
            "%d photographs of the queries are in the map too, under the same names; they are not paired with "
            "themselves.",
            len(shared),
        )

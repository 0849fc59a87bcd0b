"""Stage expand_hamming: Hamming query expansion, a second search with the words of images that match reliably.

Definition: docs/protocols/oxford_bow.md, Hamming query expansion. There is no
geometry: an image is reliable if enough features of the query have a strong match in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.retrieval.hamming import Signed, distances
from descbench.retrieval.index import IndexInfo
from descbench.retrieval.parts import Search, SearchedFiles, read_images, search_again
from descbench.retrieval.ranking import read_part_info, read_ranking
from descbench.retrieval.search_hamming import Matching, open_hamming, read_signed


@dataclass(frozen=True)
class Expansion:
    """What a query is expanded with.

    Attributes:
        images: first images of the ranking that are looked at.
        strong: most bits that the signatures of a strong match differ in.
        matches: fewest features of the query with a strong match in a reliable image.
        growth: new words, as a share of the query's own.
        seed: of the bits on which features are even.
    """

    images: int
    strong: int
    matches: int
    growth: float
    seed: int


def expand_hamming(
    ranking: Path,
    files: SearchedFiles,
    output: Path,
    work: Path,
    *,
    matching: Matching,
    expansion: Expansion,
    top_k: int | None,
    num_queries: int,
    based_on: str | None = None,
    cell: str | None = None,
) -> None:
    """Search again with one signature a word, of the query and of its reliable images together.

    Args:
        ranking: of the search by signatures.
        files: of that search; words with signatures.
        output: the ranking to write.
        work: folder for partial rankings.
        matching: what matches of the second search count.
        expansion: what a query is expanded with.
        top_k: length of the ranking; None = all images.
        num_queries: of the dataset.
        based_on: method and dataset that ``ranking`` must be of.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: files that do not belong together.
        DataError: damaged files, or shards that do not follow one another.
    """
    known, before = read_ranking(ranking, based_on), read_part_info(ranking)
    found = np.where(np.isnan(known.scores), False, known.scores > 0)
    asked = {
        int(query): [int(image) for image in ids[seen][: expansion.images]]
        for query, ids, seen in zip(known.query_ids, known.image_ids, found, strict=True)
    }
    wanted = {image for ids in asked.values() for image in ids}
    images = read_images(files.words, before.first_image, wanted, read_signed, lambda known, at: known.signed(at, 1))
    queries: dict[int, Signed | None] = {}
    bits = 0
    for path in files.query_words:
        words = read_signed(path)
        bits = words.info.bits
        for position, query in enumerate(words.image_ids.tolist()):
            own, assignments = words.signed(position), words.words.shape[1]
            shown = [images[image] for image in asked.get(query, ())]
            reliable = [
                image for image in shown if count_strong(own, assignments, image, expansion) >= expansion.matches
            ]
            expanded = expand(own, reliable, bits, expansion.growth, np.random.default_rng([expansion.seed, query]))
            queries[query] = None if query in words.unreadable else expanded
    settings = {f"expanded_{name}": getattr(expansion, name) for name in ("images", "strong", "matches", "growth")}
    search_again(
        before,
        queries,
        files,
        lambda index: _searched(index, files.statistics, matching),
        output,
        work,
        made_from=settings | ({"cell": cell} if cell else {}),
        top_k=top_k,
        num_queries=num_queries,
    )


def _searched(index: Path, statistics: Path, matching: Matching) -> tuple[IndexInfo, Search]:
    info, searcher = open_hamming(index, statistics, matching)
    return info, searcher.search


def count_strong(query: Signed, assignments: int, image: Signed, expansion: Expansion) -> int:
    """How many features of a query have a strong match in an image.

    Args:
        query: words (n * assignments,), those of a feature one after another, with their signatures.
        assignments: words of each feature.
        image: words (m,) with their signatures.
        expansion: says which matches are strong.
    """
    order = np.argsort(image.words, kind="stable")
    low = np.searchsorted(image.words[order], query.words)
    counts = np.searchsorted(image.words[order], query.words, side="right") - low
    asking = np.repeat(np.arange(len(query.words)), counts)
    there = order[np.arange(counts.sum()) + np.repeat(low - (np.cumsum(counts) - counts), counts)]
    strong = distances(query.codes[asking], image.codes[there]) <= expansion.strong
    return len(np.unique(asking[strong] // assignments))


def expand(query: Signed, reliable: Sequence[Signed], bits: int, growth: float, random: np.random.Generator) -> Signed:
    """One signature for each word of a query and for the most frequent words of its reliable images.

    New words are those in most reliable images (then with most features, then the lowest), at most ``growth`` times the
    words of the query. A bit is the majority of all features with the word, of the query and of the images; where
    they are even it is drawn. Without reliable images the query is returned as it is.
    """
    if not reliable:
        return query
    own = np.unique(query.words)
    words = np.concatenate([image.words for image in reliable])
    new, features = np.unique(words[~np.isin(words, own)], return_counts=True)
    images = np.zeros(len(new), np.int64)
    for image in reliable:
        images += np.isin(new, image.words)
    order = np.lexsort((new, -features, -images))[: int(growth * len(own))]
    kept = np.sort(np.concatenate([own, new[order]]))
    words, codes = np.concatenate([query.words, words]), np.concatenate([query.codes, *(i.codes for i in reliable)])
    here = np.isin(words, kept)
    place = np.searchsorted(kept, words[here])
    set_bits = np.zeros((len(kept), 8 * codes.shape[1]), np.int64)
    np.add.at(set_bits, place, np.unpackbits(codes[here], axis=1))
    twice, total = 2 * set_bits, np.bincount(place, minlength=len(kept))[:, None]
    drawn = random.integers(0, 2, twice.shape).astype(bool)
    majority = np.where(twice == total, drawn, twice > total)
    majority[:, bits:] = False
    return Signed(kept, np.packbits(majority, axis=1))

"""Stage verify_geometry: the first images of each query's ranking, ordered by what one transform explains.

Definition: docs/protocols/oxford_bow.md, Spatial verification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.features.store import Block, ShardReader, check_shard
from descbench.io.digests import check_digest
from descbench.retrieval.geometry import Frames, QueryWords, Verified, verify
from descbench.retrieval.inliers import write_inliers
from descbench.retrieval.ranking import rank_scores, ranking_writer, read_part_info, read_ranking
from descbench.retrieval.words import Words, read_words


@dataclass(frozen=True)
class Shards:
    """Features and words of the same images, shard by shard in order.

    Attributes:
        features: feature shards, whose features have places, sizes and orientations.
        words: words of each shard.
    """

    features: Sequence[Path]
    words: Sequence[Path]


@dataclass(frozen=True)
class _Query:
    """A query and the images of its ranking that are verified."""

    query_id: int
    words: QueryWords
    frames: Frames
    images: np.ndarray


def verify_geometry(
    ranking: Path,
    queries: Shards,
    database: Shards,
    output: Path,
    inliers: Path,
    *,
    first: int,
    error: float,
    min_inliers: int,
    based_on: str | None = None,
    cell: str | None = None,
) -> None:
    """Order the first images of each query anew.

    A verified image scores the number of its inliers plus its old score, which lies in 0..1; the others keep their
    scores, and so their order, behind them.

    Args:
        ranking: that is verified.
        queries: of its dataset.
        database: all that was searched, distractors first.
        output: the ranking to write.
        inliers: the file of verified images to write.
        first: images of a query that are verified.
        error: largest distance in pixels of the database image.
        min_inliers: fewest inliers of a verified image.
        based_on: method and dataset that ``ranking`` must be of.
        cell: method and dataset that the ranking is of, for its readers to compare.

    Raises:
        StaleFileError: files that do not belong together.
        DataError: damaged files, or features without place, size or orientation.
    """
    known, info = read_ranking(ranking, based_on), read_part_info(ranking)
    asked = {int(query): ids[:first] for query, ids in zip(known.query_ids, known.image_ids, strict=True)}
    found: dict[tuple[int, int], Verified] = {}
    wanted = list(_read_queries(queries, asked))
    start = info.first_image
    for reader, words in _opened(database):
        found |= _verify_shard(wanted, reader, words, start, error, min_inliers)
        start += reader.num_images
    if start != info.first_image + info.num_images:
        raise DataError(f"{ranking}: was made of {info.num_images} images, not of {start - info.first_image}; rerun.")
    settings = {"verified": first, "error": error, "min_inliers": min_inliers} | ({"cell": cell} if cell else {})
    about = replace(info, made_from={**info.made_from, **settings})
    ordered = []
    with ranking_writer(output, about, known.query_ids, known.image_ids.shape[1]) as writer:
        for row, query in enumerate(known.query_ids.tolist()):
            ids = known.image_ids[row]
            gained = [len(found[query, image].pairs) if (query, image) in found else 0 for image in ids.tolist()]
            best_ids, scores = rank_scores(ids, known.scores[row][None] + np.array(gained, np.float64), None)
            writer.write(row, best_ids, scores)
            ordered += [
                (query, image, found[query, image]) for image in best_ids[0].tolist() if (query, image) in found
            ]
    write_inliers(ordered, cell, inliers)


def _verify_shard(
    queries: Sequence[_Query], reader: ShardReader, words: Words, start: int, error: float, min_inliers: int
) -> dict[tuple[int, int], Verified]:
    """The images of a shard, whose first has id ``start``, that are verified, by the ids of query and image."""
    found = {}
    for query in queries:
        here = (query.images >= start) & (query.images < start + reader.num_images)
        for image in query.images[here].tolist():
            position = image - start
            pairs = query.words.correspondences(words.of(position)[:, 0])
            if len(pairs) < min_inliers:
                continue
            verified = verify(query.frames, _frames(reader, position, words.info.n), pairs, error)
            if len(verified.pairs) >= min_inliers:
                found[query.query_id, image] = verified
    return found


def _read_queries(shards: Shards, asked: dict[int, np.ndarray]) -> Iterator[_Query]:
    for reader, words in _opened(shards):
        for position, query in enumerate(words.image_ids.tolist()):
            if query in asked:
                frames = _frames(reader, position, words.info.n)
                yield _Query(query, QueryWords(words.of(position)), frames, asked[query])


def _opened(shards: Shards) -> Iterator[tuple[ShardReader, Words]]:
    """Feature shards with their words."""
    for path, words_path in zip(shards.features, shards.words, strict=True):
        with ShardReader(path) as reader:
            words = read_words(words_path)
            check_shard(reader, features=words.info.features, images=words.info.images)
            check_digest(words_path, "checkpoint", words.info.checkpoint, reader.info.checkpoint)
            yield reader, words


def _frames(reader: ShardReader, position: int, n: int) -> Frames:
    """Places, sizes and orientations of the features of an image."""
    block: Block = reader.read(position, position + 1, n)
    if block.keypoints is None or block.scales is None or block.orientations is None:
        if len(block.descriptors):
            message = "features without place, size or orientation, which geometry needs; use `kind: keypoints`."
            raise DataError(f"{reader.path}: {message}")
        return Frames(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    return Frames(block.keypoints, block.scales, block.orientations)

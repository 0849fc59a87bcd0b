"""Inverse document frequencies over all shards of an inverted file.

Definition: docs/protocols/asmk.md, Inverse document frequency: ``idf = ln(images / images with the word) ** 2``,
float32, 1 for a word without entries. ``images`` is the largest image id with an entry, plus 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descbench.errors import DataError, StaleFileError
from descbench.io.digests import check_digest
from descbench.io.hdf5 import created, opened
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.asmk import InvertedFile
from descbench.retrieval.index import IndexInfo, read_index

_KIND = "statistics file"


@dataclass(frozen=True)
class Statistics:
    """What a search with idf has to know about all shards.

    Attributes:
        idf: (K,) float32.
        counts: (K,) int64 images that have each word.
        num_images: images counted for the idf.
        codebook: digest of the codebook.
        shards: manifest digests of the shards, in the order in which they were counted.
    """

    idf: np.ndarray
    counts: np.ndarray
    num_images: int
    codebook: str
    shards: tuple[str, ...]


def compute_idf(chunks: Iterable[tuple[np.ndarray, int]], num_words: int, *, stale: bool) -> tuple[np.ndarray, ...]:
    """Idf after adding chunks of images one after the other.

    Args:
        chunks: per chunk the (K,) counts of its own entries, and the number of images known once it
            is added.
        num_words: K.
        stale: as in the original, only words that a chunk touches get a new idf, so that a word keeps
            the idf of the last chunk that had it. False: all words have the idf of the whole.

    Returns:
        idf (K,) float32, counts (K,) int64.
    """
    idf, counts, total = np.ones(num_words, np.float32), np.zeros(num_words, np.int64), 0
    for added, total in chunks:
        counts += added
        if stale:
            touched = added > 0
            idf[touched] = _idf(total, counts[touched])
    if not stale:
        idf[counts > 0] = _idf(total, counts[counts > 0])
    return idf, counts


def collect_statistics(shards: Sequence[Path], output: Path, *, stale: bool) -> None:
    """Write the statistics of an inverted file.

    Args:
        shards: index shards in the order of their images; those of distractors come first.
        output: the file to write.
        stale: reproduce the original's idf after chunked adding, with shards for chunks.

    Raises:
        DataError: no shards, or shards that do not follow one another.
        StaleFileError: shards of different codebooks or features.
    """
    if not shards:
        raise DataError(f"{output}: no index shards to collect statistics from.")
    infos: list[IndexInfo] = []
    chunks: list[tuple[np.ndarray, int]] = []
    finished, known = 0, 0
    for path in shards:
        info, lists = read_index(path)
        _check_order(path, info, infos)
        if info.first_image == 0:
            # Another dataset begins: its ids continue where those of the one before ended.
            finished += known
            known = 0
        known = int(lists.image_ids.max()) + 1 if len(lists.image_ids) else known
        chunks.append((_images_with(lists), finished + known))
        infos.append(info)
    idf, counts = compute_idf(chunks, len(chunks[0][0]), stale=stale)
    attributes = {"codebook": infos[0].codebook, "num_images": chunks[-1][1], "stale": stale}
    with created(output, _KIND, FORMAT_VERSION, attributes) as file:
        file.put("idf", idf)
        file.put("counts", counts)
        file.put_texts("shards", [info.images for info in infos])


def read_statistics(path: Path) -> Statistics:
    """Read what :func:`collect_statistics` wrote.

    Raises:
        DataError: the file is no such statistics, or damaged.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        statistics = Statistics(
            idf=file.array("idf", np.float32),
            counts=file.array("counts", np.int64),
            num_images=file.number("num_images"),
            codebook=file.text("codebook"),
            shards=tuple(file.texts("shards")),
        )
        counts = statistics.counts
        if len(counts) != len(statistics.idf) or not (np.isfinite(statistics.idf) & (statistics.idf >= 0)).all():
            raise ValueError("idf of another number of words, negative, or not finite")
        if ((counts < 0) | (counts > statistics.num_images)).any():
            raise ValueError("words in more images than there are")
    return statistics


def read_idf(path: Path, index: Path, info: IndexInfo) -> np.ndarray:
    """Idf (K,) of the words of an index shard.

    Raises:
        StaleFileError: the statistics are of another codebook, or were not collected from this shard.
        DataError: damaged statistics.
    """
    known = read_statistics(path)
    check_digest(path, "codebook", known.codebook, info.codebook)
    if info.images not in known.shards:
        raise StaleFileError(
            f"{path}: was not collected from {index} (images digest {info.images}, known are "
            f"{', '.join(known.shards)}). Delete it and run again."
        )
    return known.idf


def _images_with(lists: InvertedFile) -> np.ndarray:
    """(K,) number of images that have each word; lists may hold an image several times in a row."""
    first = np.ones(len(lists.image_ids), bool)
    first[1:] = lists.image_ids[1:] != lists.image_ids[:-1]
    starts = lists.word_offsets[:-1][lists.counts > 0]
    first[starts] = True
    before = np.concatenate(([0], np.cumsum(first)))
    return np.diff(before[lists.word_offsets])


def _idf(total: int, counts: np.ndarray) -> np.ndarray:
    return (np.log(total / counts) ** 2).astype(np.float32)


def _check_order(path: Path, info: IndexInfo, before: Sequence[IndexInfo]) -> None:
    end = before[-1].first_image + before[-1].num_images if before else 0
    if info.first_image not in (0, end):
        raise DataError(f"{path}: begins with image {info.first_image}, but image {end} is next; a shard is missing.")
    if before:
        check_digest(path, "codebook", info.codebook, before[0].codebook)
        check_digest(path, "features digest", info.features, before[0].features)

"""Stage assign_words: the visual words of the features of one shard.

Layout: ``words (N, A)`` uint32, nearest first; ``offsets (I + 1)`` int64, rows of image i are
``offsets[i]:offsets[i + 1]``, strongest feature first; ``image_ids (I)`` int64; ``unreadable_ids`` int64 of the images
that could not be read. Searching, verification and expansion read words from here, so that features are assigned once.

Definition: docs/protocols/oxford_bow.md, Bag of words.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from descbench.features.checks import check_finite
from descbench.features.store import ShardReader
from descbench.io.hdf5 import created, opened
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.codebook import check_fits, read_codebook

_KIND = "words shard"
_IMAGES = 256


@dataclass(frozen=True)
class WordsInfo:
    """What words were made from.

    Attributes:
        codebook, features, images: digests of the codebook, the features block and the manifest slice.
        checkpoint: SHA-256 of the weights behind the features; empty without a network.
        n: strongest features used of an image.
        num_words: K.
    """

    codebook: str
    features: str
    images: str
    checkpoint: str
    n: int
    num_words: int


@dataclass(frozen=True)
class Words:
    """Visual words of the images of a shard.

    Attributes:
        info: what they were made from.
        words: (N, A) uint32, mapped from the file.
        offsets: (I + 1,) int64.
        image_ids: (I,) int64, ascending.
        unreadable: (U,) int64 ids of images that could not be read.
    """

    info: WordsInfo
    words: np.ndarray
    offsets: np.ndarray
    image_ids: np.ndarray
    unreadable: np.ndarray

    def of(self, position: int) -> np.ndarray:
        """Words (n, A) of the image at a position."""
        return self.words[self.offsets[position] : self.offsets[position + 1]]


def assign_words(
    shard: Path, codebook: Path, output: Path, *, n: int, multiple_assignment: int = 1, threads: int | None = None
) -> None:
    """Find the nearest visual words of each feature, exactly.

    Args:
        shard: feature shard.
        codebook: codebook file.
        output: the file to write.
        n: strongest features used of an image.
        multiple_assignment: A, words of a feature.
        threads: None = all processors. The result does not depend on it.

    Raises:
        StaleFileError: the shard was made with other weights than the codebook.
        DataError: descriptors of another dimension, or not finite; fewer words than are asked for.
    """
    known = read_codebook(codebook)
    nearest = NearestCentroids(known.centroids, threads)
    with ShardReader(shard) as reader:
        check_fits(known, codebook, reader)
        made_of = (known.digest, reader.info.features, reader.info.images, reader.info.checkpoint)
        info = WordsInfo(*made_of, n, len(known.centroids))
        offsets = np.concatenate(([0], np.cumsum(reader.counts(n))))
        with created(output, _KIND, FORMAT_VERSION, asdict(info)) as file:
            file.put("offsets", offsets)
            file.put("image_ids", reader.image_ids)
            file.put("unreadable_ids", np.array(sorted(reader.skipped), np.int64))
            words = file.reserve("words", (int(offsets[-1]), multiple_assignment), np.uint32)
            start = 0
            for block in reader.blocks(n, _IMAGES):
                check_finite(shard, block.descriptors, block.image_ids)
                stop = start + len(block.descriptors)
                words[start:stop] = nearest.search(block.descriptors, multiple_assignment, threads)
                start = stop


def read_words(path: Path) -> Words:
    """Read what :func:`assign_words` wrote.

    Raises:
        DataError: no such file, or a damaged one.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        texts = {name: file.text(name) for name in ("codebook", "features", "images", "checkpoint")}
        info = WordsInfo(**texts, n=file.number("n"), num_words=file.number("num_words"))
        words = file.mapped("words", np.uint32, 2)
        offsets, ids = file.array("offsets", np.int64), file.array("image_ids", np.int64)
        unreadable = file.array("unreadable_ids", np.int64)
        if offsets.shape != (len(ids) + 1,) or offsets[0] != 0 or offsets[-1] != len(words):
            raise ValueError(f"offsets do not run from 0 to {len(words)}")
        if (np.diff(offsets) < 0).any() or (np.diff(ids) <= 0).any() or not np.isin(unreadable, ids).all():
            raise ValueError("offsets or image ids do not ascend, or unreadable images are not in the list")
        if len(words) and words.max() >= info.num_words:
            raise ValueError(f"word {words.max()} of {info.num_words}")
    return Words(info, words, offsets, ids, unreadable)

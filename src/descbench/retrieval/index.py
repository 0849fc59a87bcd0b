"""Stage build_index: one shard of features becomes one shard of an inverted file (CSR, HDF5).

Layout: ``word_offsets (K + 1)`` int64, ``image_ids (M)`` uint32 (ids of the manifest), ``image_norms``
(number of entries of each image) float64, ``counts (K)`` int64, and ``codes (M, 4 * ceil(D / 32))``
uint8 or ``vectors (M, D)`` float32. Datasets lie in one piece, so that a search maps them instead of
reading them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from descbench.errors import DataError
from descbench.features.store import Block, ShardReader
from descbench.retrieval.asmk import Aggregated, InvertedFile, aggregate, invert
from descbench.retrieval.codebook import check_finite, check_fits, read_codebook
from descbench.retrieval.files import created, mapped, opened, put
from descbench.retrieval.nearest import NearestCentroids

_KIND = "index shard"
_IMAGES = 128


@dataclass(frozen=True)
class IndexInfo:
    """What an index shard was made from.

    Attributes:
        codebook: digest of the codebook.
        features: digest of the features block.
        images: digest of the manifest slice.
        checkpoint: SHA-256 of the weights behind the features.
        n: strongest descriptors used of an image.
        multiple_assignment: words of a descriptor.
        dim: dimensions of a descriptor.
        first_image: manifest id of the shard's first image.
        num_images: images of the shard, those without descriptors included.
    """

    codebook: str
    features: str
    images: str
    checkpoint: str
    n: int
    multiple_assignment: int
    dim: int
    first_image: int
    num_images: int


class Aggregator:
    """Quantises and aggregates blocks of images of a shard.

    Args:
        codebook: path of the codebook.
        n: strongest descriptors used of an image.
        multiple_assignment: words of a descriptor.
        binary: binary codes or vectors.
        threads: None = all processors.
    """

    def __init__(
        self, codebook: Path, *, n: int, multiple_assignment: int, binary: bool, threads: int | None = None
    ) -> None:
        self._path, self.codebook = codebook, read_codebook(codebook)
        self._quantiser = NearestCentroids(self.codebook.centroids, threads)
        self._n, self._assignments, self._binary, self._threads = n, multiple_assignment, binary, threads

    def blocks(self, shard: ShardReader, images: int = _IMAGES) -> Iterator[Aggregated]:
        """Aggregated images of a shard, so many at a time.

        Raises:
            StaleFileError: the shard was made with other weights than the codebook.
            DataError: descriptors of another dimension, or not finite.
        """
        check_fits(self.codebook, self._path, shard)
        for start in range(0, shard.num_images, images):
            stop = min(start + images, shard.num_images)
            block = shard.read(start, stop, self._n)
            yield self._aggregate(shard.path, block, shard.counts(self._n, start, stop))

    def _aggregate(self, path: Path, block: Block, counts: np.ndarray) -> Aggregated:
        check_finite(path, block.descriptors, block.image_ids)
        words = self._quantiser.search(block.descriptors, self._assignments, self._threads)
        offsets = np.concatenate(([0], np.cumsum(counts)))
        centroids = self.codebook.centroids
        return aggregate(block.descriptors, words, offsets, centroids, binary=self._binary, threads=self._threads)


def concatenate(blocks: list[Aggregated]) -> Aggregated:
    """Consecutive blocks of aggregated images (at least one) as one."""
    counts = np.concatenate([np.diff(block.offsets) for block in blocks])
    return Aggregated(
        np.concatenate([block.rows for block in blocks]),
        np.concatenate([block.words for block in blocks]),
        np.concatenate(([0], np.cumsum(counts))),
    )


def build_index(
    shard: Path,
    codebook: Path,
    output: Path,
    *,
    n: int,
    binary: bool,
    multiple_assignment: int,
    first_image: int | None = None,
    threads: int | None = None,
) -> None:
    """Build one shard of an inverted file.

    Memory: the aggregated images of the shard twice, and one block of descriptors.

    Args:
        shard: feature shard of database images.
        codebook: codebook file.
        output: the index shard to write.
        n: strongest descriptors used of an image.
        binary: binary codes (ASMK*) or normalised vectors.
        multiple_assignment: words of a descriptor.
        first_image: manifest id of the first image, to be checked; None = what the shard says.
        threads: None = all processors. The result does not depend on it.

    Raises:
        DataError: images that are not those expected, descriptors that are not finite.
        StaleFileError: features and codebook of different weights.
    """
    aggregator = Aggregator(codebook, n=n, multiple_assignment=multiple_assignment, binary=binary, threads=threads)
    with ShardReader(shard) as reader:
        first = _first_image(reader, first_image)
        aggregated = concatenate(list(aggregator.blocks(reader)))
        info = IndexInfo(
            codebook=aggregator.codebook.digest,
            features=reader.info.features,
            images=reader.info.images,
            checkpoint=reader.info.checkpoint,
            n=n,
            multiple_assignment=multiple_assignment,
            dim=reader.dim,
            first_image=first,
            num_images=reader.num_images,
        )
    lists = invert(aggregated, len(aggregator.codebook.centroids), first)
    write_index(lists, info, output)


def write_index(lists: InvertedFile, info: IndexInfo, path: Path) -> None:
    """Write an index shard; equal shards give equal bytes."""
    with created(path, _KIND, {**asdict(info), "binary": lists.binary}) as file:
        put(file, "word_offsets", lists.word_offsets)
        put(file, "counts", lists.counts)
        put(file, "image_norms", lists.image_norms())
        put(file, "image_ids", lists.image_ids)
        put(file, "codes" if lists.binary else "vectors", lists.rows)


def read_index(path: Path) -> tuple[IndexInfo, InvertedFile]:
    """Open an index shard; its lists are mapped, not read.

    Raises:
        DataError: the file is no index shard, or damaged.
    """
    with opened(path, _KIND) as file:
        attributes = {name: file.attrs[name] for name in IndexInfo.__dataclass_fields__}
        info = IndexInfo(**{n: str(v) if isinstance(v, str) else int(v) for n, v in attributes.items()})
        rows = mapped(file, "codes" if file.attrs["binary"] else "vectors")
        lists = InvertedFile(
            file["word_offsets"][:], mapped(file, "image_ids"), rows, info.first_image, info.num_images
        )
    return info, lists


def _first_image(shard: ShardReader, expected: int | None) -> int:
    ids = shard.image_ids
    if len(ids) == 0:
        raise DataError(f"{shard.path}: holds no images; delete it and run again.")
    if not np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids))):
        raise DataError(f"{shard.path}: image ids are not consecutive; delete it and run again.")
    if expected is not None and expected != ids[0]:
        raise DataError(f"{shard.path}: begins with image {ids[0]}, expected {expected}; delete it and run again.")
    return int(ids[0])

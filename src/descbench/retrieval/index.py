"""Stage build_index: one shard of features becomes one shard of an inverted file (CSR, HDF5).

Layout: ``word_offsets (K + 1)`` uint32 (uint64 from 2^32 entries on), ``image_norms`` (number of entries
of each image) float64, ``image_ids (M)`` uint32 (ids of the manifest), and ``codes (M, 4 * ceil(D / 32))``
uint8 or ``vectors (M, D)`` float32: 20 bytes an entry at 128 dimensions, and little else;
``unreadable_ids`` int64 are the images of the shard that could not be read; ``unturned`` int64 says how many EXIF says
are to be turned, if any. Datasets lie in
one piece, so that a search maps them instead of reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from descbench.errors import DataError
from descbench.features.checks import check_finite
from descbench.features.store import Block, ShardReader
from descbench.io.hdf5 import created, opened
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.asmk import Aggregated, InvertedFile, aggregate, invert, order_by_word
from descbench.retrieval.codebook import check_fits, read_codebook
from descbench.retrieval.unturned import put_unturned, read_unturned

_KIND = "index shard"
_IMAGES = 64
_ENTRIES = 1 << 18


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

    Memory: the aggregated images of the shard once (24 bytes a binary entry at 128 dimensions), and one
    block of descriptors.

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
        blocks = aggregator.blocks(reader)
        told = {"unreadable": sorted(reader.skipped), "unturned": len(reader.unturned)}
        write_index(blocks, len(aggregator.codebook.centroids), info, output, **told)


def is_index_of(path: Path, shard: Path, codebook: Path, *, n: int, binary: bool, multiple_assignment: int) -> bool:
    """Whether an index shard is there that :func:`build_index` would make of these; a damaged one is not."""
    if not path.is_file():
        return False
    try:
        info, lists = read_index(path)
    except DataError:
        return False
    with ShardReader(shard) as reader:
        made_from = (reader.info.features, reader.info.images, reader.info.checkpoint)
    found = (info.codebook, info.n, info.multiple_assignment, lists.rows.dtype == np.uint8)
    wanted = (read_codebook(codebook).digest, n, multiple_assignment, binary)
    return found == wanted and (info.features, info.images, info.checkpoint) == made_from


def write_index(
    blocks: Iterable[Aggregated],
    num_words: int,
    info: IndexInfo,
    path: Path,
    *,
    unreadable: Sequence[int] = (),
    unturned: int = 0,
) -> None:
    """Write an index shard from consecutive blocks of its images; equal images give equal bytes.

    Every block is ordered by word as it comes, and the lists are merged from the blocks a range of words
    at a time, so that the shard is in memory once and the file is written from front to back.

    Args:
        blocks: aggregated images, at least one block; how they are cut does not matter.
        num_words: K.
        info: what the shard is made from; ``num_images`` is the number of images of all blocks.
        path: the index shard to write.
        unreadable: ids of the images that could not be read, ascending.
        unturned: number of images that EXIF says are to be turned, and that were read as they are stored.

    Raises:
        ValueError: no blocks, or blocks that hold another number of images.
        DataError: the disk is full.
    """
    runs, norms = _sorted_runs(blocks, num_words, info.first_image)
    if not runs or len(norms) != info.num_images:
        raise ValueError(f"{path}: blocks hold {len(norms)} images, not {info.num_images}")
    offsets = np.concatenate(([0], np.cumsum(sum(np.bincount(run.words, minlength=num_words) for run in runs))))
    entries, rows = int(offsets[-1]), runs[0].rows
    binary = rows.dtype == np.uint8
    with created(path, _KIND, FORMAT_VERSION, {**asdict(info), "binary": binary}) as file:
        file.put("word_offsets", offsets.astype(np.uint32 if entries < 2**32 else np.uint64))
        file.put("image_norms", norms)
        file.put("unreadable_ids", np.asarray(unreadable, np.int64))
        put_unturned(file, unturned)
        ids_out = file.reserve("image_ids", (entries,), np.uint32)
        rows_out = file.reserve("codes" if binary else "vectors", (entries, rows.shape[1]), rows.dtype)
        for low, high in pairwise(_word_ranges(offsets)):
            start, stop = offsets[low], offsets[high]
            ids_out[start:stop], rows_out[start:stop] = _merged(runs, low, high)


class _Run(NamedTuple):
    """Entries of a block of images, ordered by word."""

    words: np.ndarray
    image_ids: np.ndarray
    rows: np.ndarray


def _sorted_runs(blocks: Iterable[Aggregated], num_words: int, first_image: int) -> tuple[list[_Run], np.ndarray]:
    """The blocks ordered by word, and the number of entries of each image."""
    runs, counts = [], [np.zeros(0)]
    for block in blocks:
        lists = invert(block, num_words, first_image)
        first_image += lists.num_images
        words = np.repeat(np.arange(num_words, dtype=np.uint32), lists.counts)
        runs.append(_Run(words, lists.image_ids, lists.rows))
        counts.append(np.diff(block.offsets))
    return runs, np.concatenate(counts).astype(np.float64)


def _word_ranges(offsets: np.ndarray) -> list[int]:
    """Edges of ranges of words of about ``_ENTRIES`` entries each, or of one word."""
    edges = [0]
    while edges[-1] < len(offsets) - 1:
        fitting = int(np.searchsorted(offsets, offsets[edges[-1]] + _ENTRIES, side="right")) - 1
        edges.append(max(fitting, edges[-1] + 1))
    return edges


def _merged(runs: list[_Run], low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Image ids and rows of the words ``low:high``, by word, within a word in the order of the runs."""
    places = [slice(*np.searchsorted(run.words, (low, high))) for run in runs]
    words, image_ids, rows = (
        np.concatenate([part[place] for part, place in zip(parts, places, strict=True)])
        for parts in zip(*runs, strict=True)
    )
    return order_by_word(words.astype(np.int64) - low, image_ids, rows, high - low)[1:]


def read_index(path: Path) -> tuple[IndexInfo, InvertedFile]:
    """Open an index shard; its lists are mapped, not read.

    Raises:
        DataError: the file is not an index shard, or damaged.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        texts = {name: file.text(name) for name in ("codebook", "features", "images", "checkpoint")}
        numbers = {name: file.number(name) for name in IndexInfo.__dataclass_fields__ if name not in texts}
        info = IndexInfo(**texts, **numbers)
        binary = bool(file.number("binary"))
        rows = file.mapped("codes", np.uint8, 2) if binary else file.mapped("vectors", np.float32, 2)
        offsets = file.array("word_offsets", (np.uint32, np.uint64))
        ids = file.mapped("image_ids", np.uint32)
        _check_lists(info, offsets, ids, rows)
        if file.array("image_norms", np.float64).shape != (info.num_images,):
            raise ValueError("norms of another number of images")
    return info, InvertedFile(offsets.astype(np.int64), ids, rows, info.first_image, info.num_images)


def unreadable_images(path: Path, info: IndexInfo) -> np.ndarray:
    """Manifest ids (U,) int64 of the images of an index shard that could not be read; :func:`read_index` came before.

    Raises:
        DataError: they are not of the shard.
    """
    with opened(path, _KIND, FORMAT_VERSION, checked=True) as file:
        ids = file.array("unreadable_ids", np.int64)
        if not np.isin(ids, np.arange(info.first_image, info.first_image + info.num_images)).all():
            raise ValueError("unreadable images outside the shard")
    return ids


def unturned_images(path: Path) -> int:
    """Images of an index shard that EXIF says are to be turned; :func:`read_index` came before."""
    with opened(path, _KIND, FORMAT_VERSION, checked=True) as file:
        return read_unturned(file)


def _check_lists(info: IndexInfo, offsets: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """Refuse lists that do not belong together or name images outside the shard; ValueError."""
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(ids) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError(f"word offsets do not run from 0 to {len(ids)}")
    width = 4 * -(-info.dim // 32) if rows.dtype == np.uint8 else info.dim
    if rows.shape != (len(ids), width):
        raise ValueError(f"{rows.shape} values for {len(ids)} entries of {info.dim} dimensions")
    last = info.first_image + info.num_images - 1
    if len(ids) and not info.first_image <= ids.min() <= ids.max() <= last:
        raise ValueError(f"images outside {info.first_image} to {last}")


def _first_image(shard: ShardReader, expected: int | None) -> int:
    ids = shard.image_ids
    if len(ids) == 0:
        raise DataError(f"{shard.path}: holds no images; delete it and run again.")
    if not np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids))):
        raise DataError(f"{shard.path}: image ids are not consecutive; delete it and run again.")
    if expected is not None and expected != ids[0]:
        raise DataError(f"{shard.path}: begins with image {ids[0]}, expected {expected}; delete it and run again.")
    return int(ids[0])

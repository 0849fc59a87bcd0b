"""Codebooks: k-means over descriptors that are read from shards in bounded memory.

Definition: docs/protocols/asmk.md, Codebook.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from descbench.errors import DataError, StaleFileError
from descbench.features.checks import check_finite
from descbench.features.store import ShardInfo, ShardReader
from descbench.io.digests import check_digest
from descbench.io.hdf5 import Hdf5Reader, created, opened
from descbench.neighbours.faiss_build import faiss
from descbench.neighbours.kmeans import Assignment, kmeans, subsample
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval import FORMAT_VERSION
from descbench.retrieval.hamming import Embedding, learn_embedding

_KIND = "codebook"
_ROWS = 1 << 18
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Codebook:
    """Visual words, and what they were learned from.

    Attributes:
        centroids: (K, D) float32.
        iterations, seed: settings of the k-means.
        num_points: descriptors before the subsample.
        features: digest of the features block of the training descriptors.
        checkpoint: SHA-256 of the weights that gave them; empty for released descriptors.
        source: the training shards, in words.
        faiss_version: version of faiss; together with the device it decides the last digits.
        digest: SHA-256 of the bytes of the centroids.
        embedding: what binary signatures are made with; None where there are none.
    """

    centroids: np.ndarray
    iterations: int
    seed: int
    num_points: int
    features: str
    checkpoint: str
    source: str
    faiss_version: str
    digest: str
    embedding: Embedding | None = None


def draw_points(blocks: Iterator[np.ndarray], num_points: int, dim: int, rows: np.ndarray | None) -> np.ndarray:
    """The points ``rows`` (None = all) of a stream of blocks (n, D) that together have ``num_points``."""
    points = np.empty((num_points if rows is None else len(rows), dim), np.float32)
    order = None if rows is None else np.argsort(rows)
    ascending = None if rows is None else rows[order]
    start = 0
    for block in blocks:
        stop = start + len(block)
        if rows is None:
            points[start:stop] = block
        else:
            low, high = np.searchsorted(ascending, (start, stop))
            points[order[low:high]] = block[ascending[low:high] - start]
        start = stop
    return points


@dataclass(frozen=True)
class TrainingPoints:
    """Descriptors that words are learned from.

    Attributes:
        points: (N, D) float32, at most 256 for each word, a random subset of all.
        num_points: descriptors before the subsample.
        info: of their shards.
        source: what they are, in words.
    """

    points: np.ndarray
    num_points: int
    info: ShardInfo
    source: str


def read_points(
    output: Path, shards: Sequence[Path], *, n: int | None, images: int | None, size: int, seed: int
) -> TrainingPoints:
    """Read the strongest descriptors of the first images; arguments as of :func:`train_codebook`.

    Raises:
        DataError: fewer descriptors than words (names ``output``), descriptors that are not finite, damaged shards.
        StaleFileError: shards of different features or weights.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(ShardReader(path)) for path in shards]
        _check_same_origin(readers)
        info, used = readers[0].info, _images_of_each(readers, images)
        num_points = sum(int(reader.counts(n, 0, stop).sum()) for reader, stop in zip(readers, used, strict=True))
        if num_points < size:
            raise DataError(
                f"{output}: {num_points} descriptors of {sum(used)} images are too few for a codebook of {size} words; "
                "train on more images or more descriptors an image, or lower the codebook's size."
            )
        points = draw_points(_blocks(readers, used, n), num_points, readers[0].dim, subsample(num_points, size, seed))
    each = "all" if n is None else f"at most {n}"
    return TrainingPoints(points, num_points, info, f"{each} descriptors of each of {sum(used)} images")


def train_codebook(
    shards: Sequence[Path],
    output: Path,
    *,
    n: int | None,
    images: int | None,
    size: int,
    iterations: int = 10,
    seed: int = 1234,
    device: str = "cpu",
    assignment: Assignment = "exact",
    signatures: Mapping[str, int] | None = None,
    threads: int | None = None,
) -> None:
    """Learn a codebook from the strongest descriptors of the first images.

    Args:
        shards: feature shards of the training images, in order.
        output: the codebook file.
        n: strongest descriptors used of an image.
        images: first images used, over all shards; None = all.
        size: number of words.
        iterations, seed: of the k-means.
        device: ``cpu``, ``cuda`` or ``auto``: a GPU is used where faiss has one.
        assignment: ``exact``, or ``two_level`` (approximate), see :func:`descbench.neighbours.kmeans.kmeans`.
        signatures: ``bits`` and ``seed`` of binary signatures whose thresholds are learned too; None: there are none.
        threads: None = all processors. On the CPU the result does not depend on it.

    Raises:
        DataError: fewer descriptors than words, descriptors that are not finite, damaged shards.
        StaleFileError: shards of different features or weights.
    """
    read = read_points(output, shards, n=n, images=images, size=size, seed=seed)
    points, info = read.points, read.info
    _log.info("k-means: %d of %d descriptors, %d words", len(points), read.num_points, size)
    settings = {"iterations": iterations, "seed": seed, "device": device, "assignment": assignment}
    centroids = kmeans(points, size, **settings, threads=threads)
    made_of = (iterations, seed, read.num_points, info.features, info.checkpoint, read.source, faiss.__version__)
    embedding = None if signatures is None else _embedding(output, points, centroids, signatures, threads)
    write_codebook(Codebook(centroids, *made_of, centroid_digest(centroids), embedding), output)


def _embedding(
    output: Path, points: np.ndarray, centroids: np.ndarray, signatures: Mapping[str, int], threads: int | None
) -> Embedding:
    words = NearestCentroids(centroids, threads).search(points, 1, threads)[:, 0]
    try:
        return learn_embedding(points, words, centroids, **signatures)
    except ValueError as error:
        raise DataError(f"{output}: {error}; lower the method's `bits`.") from error


def centroid_digest(centroids: np.ndarray) -> str:
    """SHA-256 of the bytes of the centroids: the name by which other files know a codebook."""
    return hashlib.sha256(np.ascontiguousarray(centroids, "<f4").tobytes()).hexdigest()


def embedding_digest(embedding: Embedding | None) -> str:
    """SHA-256 of the bytes of an embedding, empty where there is none: the name by which other files know it."""
    if embedding is None:
        return ""
    return hashlib.sha256(b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in embedding)).hexdigest()


def write_codebook(codebook: Codebook, path: Path) -> None:
    """Write a codebook; equal codebooks give equal bytes."""
    attributes = asdict(codebook)
    centroids, _ = attributes.pop("centroids"), attributes.pop("embedding")
    with created(path, _KIND, FORMAT_VERSION, {**attributes, "size": len(centroids)}) as file:
        file.put("centroids", centroids)
        if codebook.embedding is not None:
            file.put("projection", codebook.embedding.projection)
            file.put("thresholds", codebook.embedding.thresholds)


def read_codebook(path: Path) -> Codebook:
    """Read a codebook.

    Raises:
        DataError: the file is not a codebook, or its centroids are damaged.
    """
    with opened(path, _KIND, FORMAT_VERSION) as file:
        centroids = file.array("centroids", np.float32, 2)
        numbers = {name: file.number(name) for name in ("iterations", "seed", "num_points")}
        texts = {name: file.text(name) for name in ("features", "checkpoint", "source", "faiss_version", "digest")}
        if centroid_digest(centroids) != texts["digest"]:
            raise ValueError("the centroids do not have the digest of this codebook")
        if len(centroids) != file.number("size") or not np.isfinite(centroids).all():
            raise ValueError("centroids of another number than its size, or that are not finite")
        embedding = _read_embedding(file, centroids) if "thresholds" in file or "projection" in file else None
    return Codebook(centroids=centroids, **numbers, **texts, embedding=embedding)


def _read_embedding(file: Hdf5Reader, centroids: np.ndarray) -> Embedding:
    found = Embedding(file.array("projection", np.float32, 2), file.array("thresholds", np.float32, 2))
    (bits, dim), (size, wide) = found.projection.shape, found.thresholds.shape
    if (size, dim) != centroids.shape or not 0 < bits == wide:
        raise ValueError(f"projection {found.projection.shape} and thresholds {found.thresholds.shape} do not fit")
    if not all(np.isfinite(part).all() for part in found):
        raise ValueError("a projection or thresholds that are not finite")
    return found


def check_fits(codebook: Codebook, path: Path, shard: ShardReader) -> None:
    """Refuse a codebook of other weights than those of a feature shard.

    The features block may be another one (codebooks are often learned at a single scale).

    Raises:
        StaleFileError: the weights differ.
        DataError: the dimensions differ.
    """
    if codebook.checkpoint != shard.info.checkpoint:
        raise StaleFileError(
            f"{path}: learned from descriptors of checkpoint {codebook.checkpoint or 'none'}, but {shard.path} was "
            f"made with checkpoint {shard.info.checkpoint or 'none'}. Delete the older of the two files and run again."
        )
    if codebook.centroids.shape[1] != shard.dim:
        raise DataError(
            f"{shard.path}: descriptors of {shard.dim} dimensions, but {path} has {codebook.centroids.shape[1]}; "
            "use features and codebook of the same model."
        )


def _images_of_each(readers: Sequence[ShardReader], images: int | None) -> list[int]:
    """How many of the first ``images`` images are in each shard."""
    left = sum(reader.num_images for reader in readers) if images is None else images
    used = []
    for reader in readers:
        used.append(min(reader.num_images, left))
        left -= used[-1]
    return used


def _check_same_origin(readers: Sequence[ShardReader]) -> None:
    if not readers:
        raise DataError("no feature shards to learn a codebook from; check the codebook's dataset and role.")
    for reader in readers[1:]:
        check_digest(reader.path, "features digest", reader.info.features, readers[0].info.features)
        check_digest(reader.path, "checkpoint", reader.info.checkpoint, readers[0].info.checkpoint)


def _blocks(
    readers: Sequence[ShardReader], used: Sequence[int], n: int | None, images: int = 256
) -> Iterator[np.ndarray]:
    """Descriptors (m, D) of the first images of each shard, in bounded pieces: an image can be a bag of 10 GB."""
    for reader, stop in zip(readers, used, strict=True):
        for start in range(0, stop, images):
            block = reader.read(start, min(start + images, stop), n)
            for row in range(0, len(block.descriptors), _ROWS):
                piece = slice(row, row + _ROWS)
                check_finite(reader.path, block.descriptors[piece], block.image_ids[piece])
                yield block.descriptors[piece]

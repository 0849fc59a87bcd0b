"""The strongest other libraries at what our kernels do, and what each gives up in exactness.

A peer need not give the same result: what differs is measured, and stands beside its time. Both sides have one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.case import Sizes
from benchmarks.town import DIM
from descbench.features.store import ShardInfo, ShardWriter
from descbench.neighbours.kmeans import kmeans
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.codebook import train_codebook
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.search_hamming import Matching, build_hamming, search_hamming
from descbench.retrieval.search_visual_index import VisualSearch, search_visual_index
from descbench.retrieval.statistics import collect_statistics
from descbench.retrieval.vocabulary import build_vocabulary
from descbench.retrieval.words import assign_words

_LEVELS = 8
_ITERATIONS = 10
_SEED = 0
_NEIGHBOURS = 5
_BITS = 64
_MATCHING = Matching(threshold=3 * _BITS // 8, weighting="gaussian", burstiness=True)


@dataclass(frozen=True)
class Peer:
    """One row of the table of peers.

    Attributes:
        name: of the row.
        peer, ours: what is timed.
        compare: of what both return, what the peer gives up, in words.
        note: sizes.
    """

    name: str
    peer: Callable[[], Any]
    ours: Callable[[], Any]
    compare: Callable[[Any, Any], str]
    note: str


def peer_cases(sizes: Sizes, folder: Path) -> Iterator[Peer]:
    """All rows; ``folder`` holds their files meanwhile."""
    random = np.random.default_rng(_SEED)
    # Variances as of axes of PCA, for which Panorama is made; and all alike, as after whitening.
    for name, power in (("panorama", 0.5), ("panorama_whitened", 0.0)):
        yield _panorama(name, sizes, random, power)
    yield _superkmeans(sizes, random)
    yield _visual_index(sizes, random, folder)


def _panorama(name: str, sizes: Sizes, random: np.random.Generator, power: float) -> Peer:
    spread = (np.arange(1, DIM + 1) ** -power).astype(np.float32)
    words = random.standard_normal((sizes.words, DIM), np.float32) * spread
    noise = random.standard_normal((sizes.descriptors // 2, DIM), np.float32) * spread
    vectors = words[random.integers(0, len(words), len(noise))] + 0.3 * noise
    panorama, ours = faiss.IndexFlatL2Panorama(DIM, _LEVELS), NearestCentroids(words, 1)
    panorama.add(words)
    return Peer(
        name,
        lambda: panorama.search(vectors, _NEIGHBOURS)[1],
        lambda: ours.search(vectors, _NEIGHBOURS, 1),
        lambda theirs, exact: f"{np.mean(theirs != exact):.2%} of the words differ; distances in float32",
        f"faiss.IndexFlatL2Panorama, {_LEVELS} levels; {len(vectors)} descriptors, {len(words)} words, the "
        f"{_NEIGHBOURS} nearest; standard deviation of axis d: d^-{power:g}",
    )


def _superkmeans(sizes: Sizes, random: np.random.Generator) -> Peer:
    clusters = max(2, sizes.long_words // 16)
    centres = random.standard_normal((clusters, DIM), np.float32)
    count = 10 * sizes.descriptors
    points = centres[random.integers(0, clusters, count)] + 0.3 * random.standard_normal((count, DIM), np.float32)

    def theirs() -> np.ndarray:
        found = faiss.SuperKMeans(DIM, clusters)
        found.cp.niter, found.cp.seed = _ITERATIONS, _SEED
        found.train(points)
        return faiss.vector_to_array(found.centroids).reshape(clusters, DIM)

    def compare(theirs: np.ndarray, exact: np.ndarray) -> str:
        sums = [_squared_distances(points, centroids) for centroids in (theirs, exact)]
        return f"other clusters; sum of squared distances {sums[0] / sums[1] - 1:+.2%}"

    return Peer(
        "superkmeans",
        theirs,
        lambda: kmeans(points, clusters, iterations=_ITERATIONS, seed=_SEED, threads=1),
        compare,
        f"faiss.SuperKMeans; {count} points, {clusters} clusters, {_ITERATIONS} iterations",
    )


def _squared_distances(points: np.ndarray, centroids: np.ndarray) -> float:
    index = faiss.IndexFlatL2(DIM)
    index.add(np.ascontiguousarray(centroids))
    return float(index.search(points, 1)[0].sum(dtype=np.float64))


def _visual_index(sizes: Sizes, random: np.random.Generator, folder: Path) -> Peer:
    """Both learn words of the same images before; index, and search for queries that share features with one image."""
    each, images, queries = sizes.descriptors // 4, 5 * sizes.images, 5 * sizes.queries
    words = max(2, sizes.long_words // 4)
    scenes = [_unit(random.standard_normal((each, DIM))) for _ in range(images)]
    asked = random.permutation(images)[:queries]
    seen = [_unit(scenes[image] + 0.05 * random.standard_normal((each, DIM))) for image in asked]
    for scene in seen:
        # Nine in ten features are of nothing that the database shows.
        scene[each // 10 :] = _unit(random.standard_normal((each - each // 10, DIM)))
    database = _write(folder / "peer_database.h5", scenes, random)
    query = _write(folder / "peer_queries.h5", seen, random)
    learned = {"n": each, "images": None, "size": words, "seed": _SEED, "iterations": _ITERATIONS}
    signatures = {"bits": _BITS, "seed": _SEED}
    train_codebook([database], folder / "peer_codebook.h5", **learned, signatures=signatures, threads=1)
    build_vocabulary([database], folder / "peer_vocabulary.h5", **learned, rounds=1)

    def theirs() -> np.ndarray:
        given = (folder / "peer_vocabulary.h5", [query], [database], folder / "peer_theirs.h5")
        sought = VisualSearch(n=each, neighbours=_NEIGHBOURS, checks=64, verified=0, seed=_SEED)
        search_visual_index(*given, sought, top_k=None, num_distractors=0, num_queries=queries, asks_itself=False)
        return read_ranking(folder / "peer_theirs.h5").image_ids

    def ours() -> np.ndarray:
        codebook, index = folder / "peer_codebook.h5", folder / "peer_index.h5"
        assign_words(database, codebook, folder / "peer_words.h5", n=each, threads=1)
        assign_words(query, codebook, folder / "peer_asked.h5", n=each, multiple_assignment=_NEIGHBOURS, threads=1)
        build_hamming(folder / "peer_words.h5", index)
        collect_statistics([index], folder / "peer_statistics.h5", stale=False)
        given = ([folder / "peer_asked.h5"], index, folder / "peer_statistics.h5", folder / "peer_ours.h5")
        search_hamming(*given, matching=_MATCHING)
        return read_ranking(folder / "peer_ours.h5").image_ids

    def compare(theirs: np.ndarray, found: np.ndarray) -> str:
        shares = [f"{np.mean(ids[:, 0] == asked):.1%}" for ids in (theirs, found)]
        return f"words sought approximately; the right image is first for {shares[0]} of the queries, ours {shares[1]}"

    return Peer(
        "visual_index",
        theirs,
        ours,
        compare,
        f"pycolmap.VisualIndex; {images} images and {queries} queries of {each} features, {words} words, indexed and "
        f"searched; ours: Hamming embedding, {_BITS} bits, {_NEIGHBOURS} words a query feature",
    )


def _write(path: Path, images: list[np.ndarray], random: np.random.Generator) -> Path:
    info = ShardInfo("local", "f" * 64, path.name, checkpoint="c" * 64, device="cpu")
    with ShardWriter(path, info, DIM) as writer:
        for number, descriptors in enumerate(images):
            count = len(descriptors)
            points, strengths = random.uniform(0, 600, (count, 2)), np.arange(count, 0, -1)
            frames = {"scales": np.full(count, 4.0), "orientations": np.zeros(count)}
            writer.add(number, descriptors, points, strengths=strengths, **frames)
    return path


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

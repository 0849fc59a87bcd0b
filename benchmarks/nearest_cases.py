"""Rows of nearest vectors: quantisation, an iteration of k-means, mutual nearest neighbours, flat search.

The plain sides are faiss and torch as the originals call them, on as many threads as ours: one, or what a note says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import torch

from benchmarks.case import Case, Sizes
from benchmarks.town import Town
from benchmarks.vlad_data import DIM, draw_vlads
from descbench.features.store import ShardInfo, ShardReader, ShardWriter
from descbench.neighbours._nearest import has_kernel
from descbench.neighbours.kmeans import assign_exactly, iterate
from descbench.neighbours.mutual_nearest import mutual_nearest_neighbours
from descbench.neighbours.nearest import NearestCentroids
from descbench.retrieval.flat import search_flat
from descbench.retrieval.ranking import read_ranking

TOP_K = 25
_VLAD_THREADS = 2


def nearest_cases(town: Town, sizes: Sizes, folder: Path) -> Iterator[Case]:
    """All rows of this module, in the order of the table."""
    yield from _quantisation(town, sizes)
    yield _kmeans(town, sizes)
    yield from _mutual(sizes)
    yield _vlad_search(sizes, folder)


def _quantisation(town: Town, sizes: Sizes) -> Iterator[Case]:
    vectors, _ = town.images(2)
    flat, ours = faiss.IndexFlatL2(vectors.shape[1]), NearestCentroids(town.centroids, 1)
    flat.add(town.centroids)
    note = f"{len(vectors)} descriptors, {sizes.words} words, plain: faiss.IndexFlatL2"
    for k in (1, 5):
        yield Case(
            f"quantise_k{k}",
            lambda k=k: flat.search(vectors, k)[1],
            lambda k=k: ours.search(vectors, k, 1),
            np.array_equal,
            note,
        )
    for name in filter(has_kernel, ("avx2", "portable")):
        other = _with_kernel(name, town.centroids)
        for k in (1, 5):
            yield Case(
                f"quantise_k{k}_{name}",
                lambda k=k: flat.search(vectors, k)[1],
                lambda k=k, other=other: other.search(vectors, k, 1),
                np.array_equal,
                f"{note}; ours without VNNI: kernel {name}",
            )


def _with_kernel(name: str, centroids: np.ndarray) -> NearestCentroids:
    before = os.environ.get("DESCBENCH_KERNEL")
    os.environ["DESCBENCH_KERNEL"] = name
    try:
        return NearestCentroids(centroids, 1)
    finally:
        del os.environ["DESCBENCH_KERNEL"]
        if before is not None:
            os.environ["DESCBENCH_KERNEL"] = before


def _kmeans(town: Town, sizes: Sizes) -> Case:
    points, _ = town.images(sizes.kmeans_images)
    start = points[: sizes.kmeans_size].copy()

    def by_faiss(vectors: np.ndarray, centroids: np.ndarray, _threads: int | None) -> np.ndarray:
        index = faiss.IndexFlatL2(vectors.shape[1])
        index.add(centroids)
        return index.search(vectors, 1)[1][:, 0]

    return Case(
        "kmeans_iteration",
        lambda: iterate(points, start, by_faiss, 1),
        lambda: iterate(points, start, assign_exactly, 1),
        np.array_equal,
        f"{len(points)} points, {len(start)} clusters, half the codebook of the papers; plain: faiss.IndexFlatL2",
    )


def _mutual(sizes: Sizes) -> Iterator[Case]:
    for name, count in (("mnn_2k", sizes.mutual), ("mnn_5k", 5 * sizes.mutual // 2)):
        generator = np.random.default_rng(count)
        a = _unit(generator.standard_normal((count, 128)))
        # Half of the second image is the first one seen again.
        b = _unit(a[generator.permutation(count)] + 0.05 * generator.standard_normal((count, 128)))
        b[count // 2 :] = _unit(generator.standard_normal((count - count // 2, 128)))
        yield Case(
            name,
            lambda a=a, b=b: _by_full_matrix(a, b),
            lambda a=a, b=b: mutual_nearest_neighbours(a, b, threads=1)[0],
            np.array_equal,
            f"{count} against {count} descriptors of 128 dimensions, plain: the whole matrix in torch",
        )


def _by_full_matrix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    similarities = torch.from_numpy(a) @ torch.from_numpy(b).T
    of_a, of_b = similarities.argmax(1), similarities.argmax(0)
    rows = torch.arange(len(a))
    kept = of_b[of_a] == rows
    return torch.stack((rows[kept], of_a[kept]), dim=1).numpy()


def _vlad_search(sizes: Sizes, folder: Path) -> Case:
    places = max(1, sizes.vlad_images // 8)
    vectors = draw_vlads(np.arange(sizes.vlad_images + sizes.vlad_queries) % places)
    parts = {"vlad_images": vectors[: sizes.vlad_images], "vlad_queries": vectors[sizes.vlad_images :]}
    database, queries = (_write(folder / f"{name}.h5", part) for name, part in parts.items())

    def plainly() -> tuple[np.ndarray, np.ndarray]:
        """As the originals: everything in memory, copied into an index, searched."""
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(_VLAD_THREADS)
        try:
            index = faiss.IndexFlatL2(DIM)
            index.add(_read(database))
            return index.search(_read(queries), TOP_K)
        finally:
            faiss.omp_set_num_threads(before)

    def ours() -> tuple[np.ndarray, np.ndarray]:
        output = folder / "vlad.h5"
        search_flat([queries], [database], output, measure="euclidean", top_k=TOP_K, threads=_VLAD_THREADS)
        ranking = read_ranking(output)
        return -ranking.scores, ranking.image_ids

    return Case(
        "vlad_search",
        plainly,
        ours,
        # Images that are equally near to faiss, which rounds to float32, may change places.
        lambda theirs, found: (
            np.allclose(theirs[0], found[0], rtol=0, atol=1e-5) and np.array_equal(theirs[1][:, 0], found[1][:, 0])
        ),
        f"{sizes.vlad_queries} queries, {sizes.vlad_images} images, {DIM} dimensions as of NetVLAD, the {TOP_K} best; "
        f"plain: all read into memory, faiss.IndexFlatL2 with add; both on {_VLAD_THREADS} threads",
        threads=_VLAD_THREADS,
    )


def _write(path: Path, vectors: np.ndarray) -> Path:
    info = ShardInfo("global", "f" * 64, "d" * 64, checkpoint="c" * 64, device="cpu")
    with ShardWriter(path, info, DIM) as writer:
        for number, vector in enumerate(vectors):
            writer.add(number, vector[None])
    return path


def _read(path: Path) -> np.ndarray:
    with ShardReader(path) as reader:
        return np.array(reader.read().descriptors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

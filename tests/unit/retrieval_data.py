"""Small feature shards and stage calls for the tests of retrieval."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from sealed import altered

from descbench.features.store import ShardInfo, ShardWriter
from descbench.retrieval.codebook import Codebook, centroid_digest, write_codebook
from descbench.retrieval.index import build_index
from descbench.retrieval.ranking import Ranking, merge_rankings, read_ranking
from descbench.retrieval.search import search_index

WEIGHTS = "a" * 64
SEARCH = {"n": 6, "multiple_assignment": 3, "similarity_threshold": 0.0, "alpha": 3.0}


def draw_images(counts, dim=16, seed=0):
    """Descriptors of images with so many each."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((count, dim)).astype(np.float32) for count in counts]


def write_shard(
    path: Path, images, first=0, kind="local", features="f" * 64, checkpoint=WEIGHTS, skip=(), unturned=()
) -> Path:
    """A feature shard of consecutive images; those in ``skip`` could not be read, ``unturned`` ones lie on a side."""
    info = ShardInfo(kind, features, f"images {first} of {path.name}", checkpoint, "cpu")
    dim = images[0].shape[1] if images else 16
    with ShardWriter(path, info, dim) as writer:
        for image_id, descriptors in enumerate(images, first):
            if image_id in skip:
                writer.skip(image_id, "broken")
            else:
                strengths = np.arange(len(descriptors), 0, -1, dtype=np.float32)
                writer.add(image_id, descriptors, strengths=strengths if kind == "local" else None)
            if image_id in unturned:
                writer.note_unturned()
    return path


def write_shards(folder: Path, images, cuts, **more) -> list[Path]:
    """Feature shards of images cut at ``cuts``."""
    edges = [0, *cuts, len(images)]
    return [
        write_shard(folder / f"{number}.h5", images[a:b], a, **more) for number, (a, b) in enumerate(pairwise(edges))
    ]


def poison(path: Path, row: int) -> Path:
    """Put a NaN into one descriptor of a shard that is otherwise whole."""
    with altered(path) as file:
        file["descriptors"][row, 0] = np.nan
    return path


def make_codebook(path: Path, size=12, dim=16, checkpoint=WEIGHTS, seed=5, centroids=None) -> Path:
    """A codebook of random words, or of given ones."""
    if centroids is None:
        centroids = np.random.default_rng(seed).standard_normal((size, dim)).astype(np.float32)
    digest = centroid_digest(centroids)
    write_codebook(Codebook(centroids, 10, 1234, 99, "f" * 64, checkpoint, "drawn", "0", digest), path)
    return path


def make_index(shards, codebook: Path, folder: Path, binary=True, **more) -> list[Path]:
    """One index shard for each feature shard."""
    outputs = [folder / f"index-{shard.name}" for shard in shards]
    for shard, output in zip(shards, outputs, strict=True):
        build_index(shard, codebook, output, **{"n": 6, "binary": binary, "multiple_assignment": 1, **more})
    return outputs


def search_all(query_shards, codebook: Path, index, folder: Path, num_queries: int, top_k=None, **more) -> Ranking:
    """Search every index shard and merge."""
    parts = []
    for number, shard in enumerate(index):
        parts.append(folder / f"part-{number}.h5")
        search_index(query_shards, codebook, shard, parts[-1], **{**SEARCH, "top_k": top_k, **more})
    merge_rankings(parts, folder / "ranking.h5", top_k=top_k, num_queries=num_queries)
    return read_ranking(folder / "ranking.h5")

"""What tests of options look at in results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from descbench.datasets.manifest import Manifest, read_manifest
from descbench.datasets.patch_sets import read_patches
from descbench.features.store import ShardReader
from descbench.models.checkpoints import checkpoint_digest
from descbench.retrieval.codebook import Codebook, read_codebook
from descbench.retrieval.index import read_index
from descbench.retrieval.ranking import read_ranking
from descbench.retrieval.statistics import read_statistics


def ranks(path: Path) -> list[Any]:
    """Ids and scores of a ranking."""
    found = read_ranking(path)
    return [found.image_ids.tolist(), np.nan_to_num(found.scores, nan=-99).tolist()]


def rank_length(path: Path) -> int:
    return read_ranking(path).image_ids.shape[1]


def least_id(path: Path) -> int:
    return int(read_ranking(path).image_ids.min())


def codebook(path: Path) -> Codebook:
    return read_codebook(path)


def words(path: Path) -> int:
    return len(codebook(path).centroids)


def points(path: Path) -> int:
    return codebook(path).num_points


def centroids(path: Path) -> str:
    return codebook(path).digest


def entries(path: Path) -> int:
    return len(read_index(path)[1].image_ids)


def is_binary(path: Path) -> bool:
    return bool(read_index(path)[1].binary)


def idf(path: Path) -> list[float]:
    return read_statistics(path).idf.tolist()


def descriptors(path: Path) -> list[float]:
    with ShardReader(path) as shard:
        return shard.read().descriptors.astype(np.float64).round(7).ravel().tolist()


def kind(path: Path) -> str:
    with ShardReader(path) as shard:
        return shard.info.kind


def most_features(path: Path) -> int:
    with ShardReader(path) as shard:
        return int(shard.counts().max())


def scales(path: Path) -> set[float]:
    with ShardReader(path) as shard:
        return set(shard.read().scales.round(3).tolist())


def is_half(path: Path) -> bool:
    """Whether all descriptors are numbers that float16 has."""
    with ShardReader(path) as shard:
        values = shard.read().descriptors
    return bool(np.array_equal(values, values.astype(np.float16).astype(values.dtype)))


def backend(path: Path) -> str:
    with ShardReader(path) as shard:
        return shard.info.backend.split()[0]


def device(path: Path) -> str:
    with ShardReader(path) as shard:
        return shard.info.device


def weights_behind(path: Path) -> str:
    with ShardReader(path) as shard:
        return shard.info.checkpoint


def weights(path: Path) -> str:
    return checkpoint_digest(path)


def record(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its weights."""
    return torch.load(path, weights_only=True)["source"]


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in torch.load(path, weights_only=True)["state_dict"].items()}


def images(path: Path) -> Manifest:
    return read_manifest(path)


def first_path(path: Path) -> str:
    return images(path).rows[0].path


def number_of_images(path: Path) -> int:
    return len(images(path))


def patches(path: Path) -> list[int]:
    return read_patches(path).patches.ravel().tolist()


def column(name: str) -> Callable[[Path], list[str]]:
    """Values of a column of a CSV file."""

    def seen(path: Path) -> list[str]:
        with open(path, newline="", encoding="utf-8") as stream:
            return [row[name] for row in csv.DictReader(stream)]

    return seen


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
